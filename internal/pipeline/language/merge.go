package language

// effective are the children that make a stage: those of `defaults`, then of its
// templates, then its own. Of a node that may stand once the last one holds, and
// alone; of the others all hold, in this order.
func (l *loader) effective(stage *node) []*node {
	var layers [][]*node
	for _, d := range l.defaults {
		layers = append(layers, d.children)
	}
	for _, template := range l.templatesOf(stage) {
		layers = append(layers, template.children)
	}
	layers = append(layers, stage.children)

	final := map[string]int{} // the last layer that has a node of that name
	for i, layer := range layers {
		for _, c := range layer {
			final[c.key] = i
		}
	}
	var nodes []*node
	for i, layer := range layers {
		for _, c := range layer {
			if stageRepeats[c.key] || final[c.key] == i {
				nodes = append(nodes, c)
			}
		}
	}
	return nodes
}

// templatesOf are the templates of a stage, the innermost first. One that uses
// itself ends the chain.
func (l *loader) templatesOf(n *node) []*node {
	var chain []*node
	seen := map[string]bool{}
	for {
		name := n.optionText("use")
		template := l.templates[name]
		if template == nil || seen[name] {
			return chain
		}
		seen[name] = true
		chain = append([]*node{template}, chain...)
		n = template
	}
}

// buildWith resolves the parameters of a stage's templates: the stage's `with`,
// else the default.
func (l *loader) buildWith(stage *node) map[string]string {
	with := map[string]string{}
	for _, template := range l.templatesOf(stage) {
		for _, c := range template.children {
			if c.key == "param" {
				with[c.text(0)] = c.optionText("default")
			}
		}
	}
	for _, c := range stage.children {
		if c.key == "with" {
			for _, pair := range c.pairs() {
				with[pair.Key] = pair.Value
			}
		}
	}
	return with
}
