package language

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// buildStage makes a stage of its own nodes and those of its template and defaults.
func (l *loader) buildStage(n *node, p *Pipeline) *Stage {
	s := &Stage{
		Pos: n.pos(), Name: n.text(0), Component: n.optionText("component"),
		Shell: []string{"sh", "-e", "-c"}, Env: map[string]string{}, With: l.buildWith(n), Nodes: map[string]Pos{},
		Retry:   Retry{Backoff: defaultBackoff},
		Timeout: defaultStageTimeout, Idle: defaultIdle,
		Runner: Runner{Class: "auto"}, Checkout: Checkout{Depth: 1},
	}
	if needs := n.prop("needs"); needs != nil {
		s.Needs = append(s.Needs, Need{Pos: n.file.pos(needs.value.span), Stage: needs.value.text})
		s.Nodes["needs"] = n.file.pos(needs.name)
	}
	if manual := n.prop("manual"); manual != nil && manual.value.text == "true" {
		s.Approval = &Approval{Pos: n.file.pos(manual.name), Count: 1, Timeout: defaultApproval, Self: true}
		s.Nodes["approval"] = s.Approval.Pos
	}
	group := 0
	for _, c := range l.effective(n) {
		s.Nodes[c.key] = firstPos(s.Nodes, c)
		if c.key == "needs" {
			group++
			s.addNeeds(c, group)
			continue
		}
		s.set(c, p)
	}
	s.settleNeeds()
	return s
}

// addNeeds adds the names of one node, which is one group.
func (s *Stage) addNeeds(n *node, group int) {
	for _, a := range n.args {
		s.Needs = append(s.Needs, Need{Pos: n.file.pos(a.span), Stage: a.text, On: n.optionText("on"), Group: group})
	}
}

// settleNeeds gives every need without `on` the status of the stage's conditions.
func (s *Stage) settleNeeds() {
	status := "succeeded"
	for _, w := range s.When {
		status = orElse(w.Status, status)
	}
	for i := range s.Needs {
		s.Needs[i].On = orElse(s.Needs[i].On, status)
	}
}

// set puts one child into the stage. The children come in the order in which later
// ones replace or follow earlier ones.
func (s *Stage) set(n *node, p *Pipeline) {
	switch n.key {
	case "description":
		s.Description = n.text(0)
	case "image":
		s.ImageT = n.text(0)
	case "run":
		s.Run = append(s.Run, Command{n.pos(), dedent(n.text(0)), n.optionText("name"), n.optionText("dir"), n.optionDuration("timeout", 0)})
	case "shell":
		s.Shell = buildShell(n.texts())
	case "dir":
		s.DirT = n.text(0)
	case "when":
		s.When = append(s.When, buildWhen(n))
	case "env":
		maps.Copy(s.Env, buildEnv(n))
	case "secret":
		for _, a := range n.args {
			s.Secrets = append(s.Secrets, Secret{n.pos(), a.text, orElse(n.optionText("as"), a.text), n.optionBool("file", false)})
		}
	case "service":
		s.Services = append(s.Services, buildService(n))
	case "matrix":
		s.Matrix = buildMatrix(n)
	case "cache":
		s.Caches = append(s.Caches, p.resolveCache(n))
	case "artifact":
		s.Artifacts = append(s.Artifacts, Artifact{
			Pos: n.pos(), Name: n.text(0), ValueT: n.optionText("value"), Paths: n.optionTexts("path"), Exclude: n.optionTexts("exclude"),
			On: orElse(n.optionText("on"), "succeeded"), Expire: n.optionDuration("expire", defaultExpire), Optional: n.optionBool("optional", false),
		})
	case "fetch":
		s.Fetches = append(s.Fetches, Fetch{n.pos(), n.text(0), n.optionText("from"), orElse(n.optionText("to"), "."), n.optionBool("optional", false)})
	case "output":
		s.Outputs = append(s.Outputs, n.texts()...)
	case "report":
		s.Reports = append(s.Reports, Report{n.pos(), n.text(0), n.optionText("path"), n.optionBool("required", false)})
	default:
		s.setControl(n)
	}
}

// setControl puts a child that steers the stage, rather than what it does.
func (s *Stage) setControl(n *node) {
	switch n.key {
	case "retry":
		s.Retry = Retry{On: n.optionTexts("on"), Backoff: n.optionDuration("backoff", defaultBackoff)}
		if count, err := strconv.Atoi(n.text(0)); err == nil {
			s.Retry.Count = count
		}
	case "timeout":
		if d, ok := parseDuration(n.text(0)); ok {
			s.Timeout = d
		}
		s.Idle = n.optionDuration("idle", defaultIdle)
		if n.optionText("idle") == "off" {
			s.Idle = 0
		}
	case "allow-failure":
		s.AllowFailure = &AllowFailure{}
		for _, text := range n.optionTexts("exit") {
			if code, err := strconv.Atoi(text); err == nil {
				s.AllowFailure.Codes = append(s.AllowFailure.Codes, code)
			}
		}
	case "approval":
		s.Approval = &Approval{
			n.pos(), n.texts(), n.optionInt("count", 1),
			n.optionDuration("timeout", defaultApproval), n.optionText("message"), n.optionBool("self", false),
		}
	case "environment":
		s.Environment = &Environment{n.pos(), n.text(0), n.optionText("mode") == "use", n.optionText("url")}
	case "concurrency":
		s.Concurrency = buildConcurrency(n)
	case "runner":
		s.Runner = Runner{orElse(n.text(0), "auto"), n.optionText("size"), n.optionText("arch"), n.optionBool("spot", false)}
	case "parallel":
		s.Parallel = &Parallel{Pos: n.pos(), Split: orElse(n.optionText("split"), "timing"), Files: n.optionText("files")}
		if cells, err := strconv.Atoi(n.text(0)); err == nil {
			s.Parallel.Cells = min(cells, maxShares)
		}
	case "checkout":
		s.Checkout = Checkout{n.text(0) == "none", n.optionInt("depth", 1), n.optionText("ref") == "merge"}
	}
}

// shells are those whose flags we know.
var shells = map[string][]string{
	"sh":   {"sh", "-e", "-c"},
	"bash": {"bash", "-eo", "pipefail", "-c"},
}

// buildShell answers the words in front of a script.
func buildShell(words []string) []string {
	if len(words) == 1 && shells[words[0]] != nil {
		return slices.Clone(shells[words[0]])
	}
	return words
}

func buildWhen(n *node) When {
	w := When{
		Pos: n.pos(), Expression: n.text(0),
		Branch: n.optionTexts("branch"), Tag: n.optionTexts("tag"), Event: n.optionTexts("event"),
		Base: n.optionTexts("base"), Path: n.optionTexts("path"), Status: n.optionText("status"),
	}
	if expr, err := parseExpression(w.Expression); err == nil {
		w.expr = expr
	}
	return w
}

func buildService(n *node) Service {
	s := Service{
		Pos: n.pos(), ImageT: n.text(0), Name: orElse(n.optionText("as"), imageName(n.text(0))), Env: map[string]string{},
		Command: n.optionTexts("command"), ReadyTimeout: defaultReady,
	}
	for _, c := range n.children {
		switch c.key {
		case "env":
			maps.Copy(s.Env, buildEnv(c))
		case "port":
			for _, a := range c.args {
				if port, err := strconv.Atoi(a.text); err == nil {
					s.Ports = append(s.Ports, port)
				}
			}
		case "ready":
			s.Ready, s.ReadyTimeout = c.text(0), c.optionDuration("timeout", defaultReady)
		}
	}
	return s
}

// imageName is the last part of an image's path: postgres of docker.io/library/postgres:17.
func imageName(image string) string {
	name := image[strings.LastIndexByte(image, '/')+1:]
	name, _, _ = strings.Cut(name, "@")
	name, _, _ = strings.Cut(name, ":")
	return name
}

func buildMatrix(n *node) *Matrix {
	m := &Matrix{Pos: n.pos(), MaxParallel: n.optionInt("max-parallel", 0), FailFast: true}
	if p := n.prop("fail-fast"); p != nil {
		m.FailFast = p.value.text == "true"
	}
	for _, c := range n.children {
		switch c.key {
		case "exclude":
			m.Exclude = append(m.Exclude, c.pairs())
		case "include":
			m.Include = append(m.Include, c.pairs())
		default:
			m.Axes = append(m.Axes, Axis{c.key, c.texts()})
		}
	}
	return m
}

// resolveCache makes a stage's use of a cache: inline, or the definition of that name.
func (p *Pipeline) resolveCache(n *node) Cache {
	use := buildCache(n)
	for _, defined := range p.Caches {
		if defined.Name == use.Name && use.KeyT == "" && len(use.PathT) == 0 {
			use.KeyT, use.PathT, use.RestoreT = defined.KeyT, defined.PathT, defined.RestoreT
		}
	}
	return use
}
