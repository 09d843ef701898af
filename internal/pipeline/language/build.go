package language

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Defaults of the language, where the tables of pipelines.md give them.
const (
	defaultRunTimeout      = 24 * time.Hour
	defaultRunWithApproval = 30 * 24 * time.Hour
	defaultStageTimeout    = time.Hour
	defaultIdle            = 30 * time.Minute
	defaultBackoff         = 10 * time.Second
	defaultExpire          = 30 * 24 * time.Hour
	defaultApproval        = 7 * 24 * time.Hour
	defaultReady           = time.Minute
)

// build makes the typed model of nodes whose shape has been checked. What the check
// refused is read as far as it goes: the model then serves to find further mistakes
// and is not handed out.
func (l *loader) build(top []*node) *Pipeline {
	p := &Pipeline{File: l.main, Env: map[string]string{}, Nodes: map[string]Pos{}}
	for _, n := range top {
		p.Nodes[n.key] = firstPos(p.Nodes, n)
		switch n.key {
		case "pipeline":
			p.Name, p.Description = n.text(0), n.optionText("description")
			p.Timeout = n.optionDuration("timeout", 0)
		case "on", "trigger":
			p.Events = append(p.Events, buildEvent(n))
		case "env":
			maps.Copy(p.Env, buildEnv(n))
		case "param":
			p.Params = append(p.Params, buildParam(n))
		case "cache":
			p.Caches = append(p.Caches, buildCache(n))
		case "component":
			p.Components = append(p.Components, Component{n.pos(), n.text(0), n.optionTexts("path"), n.optionTexts("uses")})
		case "concurrency":
			p.Concurrency = buildConcurrency(n)
		case "notify":
			p.Notify = append(p.Notify, Notify{n.pos(), n.text(0), n.text(1), n.optionTexts("on"), n.optionTexts("branches")})
		}
	}
	approvals := false
	for _, n := range l.stages {
		stage := l.buildStage(n, p)
		approvals = approvals || stage.Approval != nil
		p.Stages = append(p.Stages, stage)
	}
	if p.Timeout == 0 {
		p.Timeout = defaultRunTimeout
		if approvals {
			p.Timeout = defaultRunWithApproval
		}
	}
	return p
}

// firstPos is where a node of that name stands first.
func firstPos(seen map[string]Pos, n *node) Pos {
	if pos, ok := seen[n.key]; ok {
		return pos
	}
	return n.pos()
}

// oldEvents are former spellings, accepted with a warning.
var oldEvents = map[string]string{"pull_request": "pull-request"}

func buildEvent(n *node) Event {
	e := Event{
		Pos: n.pos(), Kind: n.text(0),
		Branches: n.optionTexts("branches"), Tags: n.optionTexts("tags"),
		Paths: n.optionTexts("paths"), PathsIgnore: n.optionTexts("paths-ignore"), Types: n.optionTexts("types"),
		Draft: n.optionText("draft"), Forks: n.optionText("forks"),
		Cron: n.optionText("cron"), Zone: n.optionText("tz"), Branch: n.optionText("branch"),
		Pipeline: n.optionText("pipeline"), Status: n.optionText("status"),
	}
	if word, old := oldEvents[e.Kind]; old {
		e.Kind = word
	}
	switch e.Kind {
	case "pull-request":
		e.Draft, e.Forks = orElse(e.Draft, "run"), orElse(e.Forks, "no-secrets")
	case "schedule":
		e.Zone = orElse(e.Zone, "UTC")
	case "upstream":
		e.Status = orElse(e.Status, "succeeded")
	}
	return e
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// buildEnv reads the three forms of `env`, which mean the same.
func buildEnv(n *node) map[string]string {
	env := map[string]string{}
	if len(n.args) >= 2 {
		env[n.text(0)] = n.text(1)
	}
	for _, pair := range n.pairs() {
		env[pair.Key] = pair.Value
	}
	return env
}

func buildParam(n *node) Param {
	p := Param{
		Pos: n.pos(), Name: n.text(0), Type: orElse(n.optionText("type"), "string"),
		Required: n.optionBool("required", false), Description: n.optionText("description"), Choices: n.optionTexts("choices"),
	}
	if values := n.option("default"); len(values) > 0 {
		p.Default, p.HasDefault = values[0].text, true
	}
	return p
}

func buildCache(n *node) Cache {
	return Cache{
		Pos: n.pos(), Name: n.text(0), KeyT: n.optionText("key"), PathT: n.optionTexts("path"),
		RestoreT: n.optionTexts("restore"), ReadOnly: n.optionText("mode") == "read",
	}
}

func buildConcurrency(n *node) *Concurrency {
	return &Concurrency{
		Pos: n.pos(), GroupT: n.text(0), Mode: orElse(n.optionText("mode"), "queue"),
		Limit: n.optionInt("limit", 1), Except: n.optionText("except"),
	}
}

// pos is where a message about the node points: at its name.
func (n *node) pos() Pos { return n.file.pos(n.name) }

// text is the argument i, or "".
func (n *node) text(i int) string {
	if i < len(n.args) {
		return n.args[i].text
	}
	return ""
}

// texts are all arguments.
func (n *node) texts() []string {
	var texts []string
	for _, a := range n.args {
		texts = append(texts, a.text)
	}
	return texts
}

// option are the values of what may be written as a property or as a child.
func (n *node) option(key string) []value {
	var values []value
	if p := n.prop(key); p != nil {
		values = append(values, p.value)
	}
	for _, c := range n.children {
		if c.key == key {
			values = append(values, c.args...)
		}
	}
	return values
}

func (n *node) optionTexts(key string) []string {
	var texts []string
	for _, v := range n.option(key) {
		texts = append(texts, v.text)
	}
	return texts
}

func (n *node) optionText(key string) string {
	if values := n.option(key); len(values) > 0 {
		return values[0].text
	}
	return ""
}

func (n *node) optionBool(key string, otherwise bool) bool {
	if text := n.optionText(key); text != "" {
		return text == "true"
	}
	return otherwise
}

func (n *node) optionInt(key string, otherwise int) int {
	if number, err := strconv.Atoi(n.optionText(key)); err == nil {
		return number
	}
	return otherwise
}

func (n *node) optionDuration(key string, otherwise time.Duration) time.Duration {
	if d, ok := parseDuration(n.optionText(key)); ok {
		return d
	}
	return otherwise
}

// pairs are the K=V properties and K V children of a node whose keys the author
// chooses, in file order.
func (n *node) pairs() []Pair {
	var pairs []Pair
	for _, p := range n.props {
		pairs = append(pairs, Pair{p.key, p.value.text})
	}
	for _, c := range n.children {
		pairs = append(pairs, Pair{c.key, c.text(0)})
	}
	return pairs
}

// durationUnits are the units of a duration.
var durationUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// parseDuration reads a whole number and one unit.
func parseDuration(text string) (time.Duration, bool) {
	if text == "" {
		return 0, false
	}
	digits, unit := text[:len(text)-1], durationUnits[text[len(text)-1:]]
	number, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || unit == 0 || !allDigits(digits) || number > int64(10*365*24*time.Hour/unit) {
		return 0, false
	}
	return time.Duration(number) * unit, true
}

// dedent removes what only the layout of the file asked for: of a script whose
// first character is a line break the first and the last blank line go, and the
// indentation that the other lines share.
func dedent(script string) string {
	if !strings.HasPrefix(script, "\n") {
		return script
	}
	lines := strings.Split(script[1:], "\n")
	if last := len(lines) - 1; strings.TrimLeft(lines[last], " \t") == "" {
		lines = lines[:last]
	}
	common, first := "", true
	for _, line := range lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if indent == line {
			continue // a blank line has no say
		}
		if first {
			common, first = indent, false
		}
		for !strings.HasPrefix(indent, common) {
			common = common[:len(common)-1]
		}
	}
	for i, line := range lines {
		if strings.HasPrefix(line, common) {
			lines[i] = line[len(common):]
		} else {
			lines[i] = "" // shorter than the indentation: blank
		}
	}
	return strings.Join(lines, "\n")
}

// sortedKeys are the keys of a map in order, for messages.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
