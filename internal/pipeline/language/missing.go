package language

import (
	"cmp"
	"slices"
)

// Lacks finds the nodes of these names, which this version cannot run, at the top
// level and in stages. It fills Missing there and answers all of them by position.
func (p *Pipeline) Lacks(names ...string) []Missing {
	p.Missing = missing(p.Nodes, names)
	all := slices.Clone(p.Missing)
	for _, s := range p.Stages {
		s.Missing = missing(s.Nodes, names)
		all = append(all, s.Missing...)
	}
	slices.SortStableFunc(all, func(a, b Missing) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	return all
}

func missing(nodes map[string]Pos, names []string) []Missing {
	var list []Missing
	for _, name := range names {
		if pos, used := nodes[name]; used {
			list = append(list, Missing{pos, name})
		}
	}
	return list
}
