package language

import (
	"fmt"
	"slices"
	"strings"
)

// foreignWord is a word of another system: what it is here, and how it is written.
type foreignWord struct{ meant, help string }

// foreignWords are those of pipelines.md 2.8, and more of the same kind.
var foreignWords = func() map[string]foreignWord {
	words := map[string]foreignWord{}
	for _, row := range []struct{ written, meant, help string }{
		{"jobs job workflow workflows", "stage", `write one stage "NAME" { ... } for each job`},
		{"stages", "stage", `write one stage "NAME" { ... } for each stage; needs gives the order`},
		{"steps step script commands command cmd before_script after_script tasks task", "run", `write one run "..." for each command`},
		{"depends_on depends-on dependsOn requires require need runAfter after dependencies", "needs", `write needs "NAME"`},
		{"strategy axis axes", "matrix", `write matrix { NAME "value" "value"; }`},
		{"services sidecars", "service", `write one service "IMAGE" for each`},
		{"artifacts store_artifacts upload", "artifact", `write artifact "NAME" path="..."`},
		{"secrets context contexts", "secret", `write secret "NAME" inside the stage that needs it`},
		{"container docker", "image", `write image "NAME:VERSION"`},
		{"group resource_group", "concurrency", `write concurrency "GROUP"`},
		{"if only rules condition filters except unless", "when", `write when branch="main"`},
		{"variables envs environment", "env", `write env NAME="value"`},
		{"timeout-minutes timeout_in_minutes timeout_minutes", "timeout", `write timeout "20m"`},
		{"continue-on-error soft_fail allow_failure", "allow-failure", "write allow-failure"},
		{"uses extends orbs template", "use", `write use "TEMPLATE" inside a stage`},
		{"download attach_workspace from", "fetch", `write fetch "NAME" from="STAGE"`},
		{"restore-keys restore_keys", "restore", `write restore "PREFIX"`},
		{"working-directory working_directory workdir cwd", "dir", `write dir "PATH"`},
		{"hold block input", "approval", `write approval "GROUP"`},
		{"runs-on runs_on resource_class agents pool", "runner", `write runner "auto"`},
		{"outputs", "output", `write output "NAME"`},
		{"parameters inputs params", "param", `write one param "NAME" for each`},
		{"caches", "cache", `write one cache "NAME" { ... } for each`},
		{"pipelines name", "pipeline", `write pipeline "my-app" in the first line`},
		{"triggers schedule push pull_request pull-request workflow_dispatch", "on", `write on "push", on "pull-request", on "schedule" ...`},
		{"reports store_test_results", "report", `write report "junit" path="..."`},
		{"includes import", "include", `write include "PATH"`},
		{"templates orb", "template", `write template "NAME" { ... }`},
		{"retries", "retry", "write retry 2"},
	} {
		for _, word := range strings.Fields(row.written) {
			words[word] = foreignWord{row.meant, row.help}
		}
	}
	return words
}()

// foreignEvents are events of other systems, with what to write.
var foreignEvents = map[string]string{
	"workflow_dispatch": `did you mean "manual"?`, "api": `did you mean "manual"?`, "web": `did you mean "manual"?`,
	"pull": `did you mean "pull-request"?`, "pull_request_target": `on "pull-request" { forks "approve"; } runs without secrets`,
	"pr": `did you mean "pull-request"?`, "merge_request": `did you mean "pull-request"?`, "merge-request": `did you mean "pull-request"?`,
	"merge_group": `did you mean "merge-group"?`, "cron": `did you mean "schedule"?`, "release": `did you mean "tag"?`,
	"workflow_run": `did you mean "upstream"?`, "pipeline": `did you mean "upstream"?`, "tags": `did you mean "tag"?`,
}

// unknownNode reports a node that has no place here, with the word that was meant.
// Nothing is said of what is in it.
func (c *checker) unknownNode(parent *rule, n *node, owner *node) {
	c.lostNames = c.lostNames || owner == nil
	where := parent.name
	if owner != nil && parent.variants == nil && owner.key == "on" {
		where = owner.label()
	}
	d := n.file.errorAt(n.name, "unknown-node", fmt.Sprintf("%s has no %q", where, n.key), c.unknownNodeHelp(parent, n, owner))
	if nearest := Nearest(n.key, parent.words()); nearest != "" && d.Help == meant(nearest) {
		d.fix(n.file, n.name, nearest)
	}
}

func meant(word string) string { return fmt.Sprintf("did you mean %q?", word) }

func (c *checker) unknownNodeHelp(parent *rule, n *node, owner *node) string {
	if word, ok := foreignWords[n.key]; ok {
		if parent.child(word.meant) != nil || parent.name == fileRule.name {
			return word.help
		}
	}
	if n.key == "tags" && owner != nil && owner.key == "on" {
		return `tags are an event of their own: on "tag" { tags "v*"; }`
	}
	if help := elsewhere(parent, n); help != "" {
		return help
	}
	if nearest := Nearest(n.key, parent.words()); nearest != "" {
		return meant(nearest)
	}
	if parent.prop(n.key) != nil {
		raw := "..."
		if len(n.args) > 0 {
			raw = n.file.raw(n.args[0].span)
		}
		return fmt.Sprintf("%s is a property: %s %s=%s", n.key, owner.label(), n.key, raw)
	}
	if word, ok := foreignWords[n.key]; ok {
		return word.help
	}
	words := parent.words()
	switch {
	case len(words) == 0 && len(parent.props) > 0:
		return "its properties are " + strings.Join(parent.propWords(), ", ")
	case len(words) == 0:
		return "it has no block"
	case len(words) <= 12:
		return "one of " + strings.Join(words, ", ")
	}
	return ""
}

// elsewhere is the help for a node that the language has in another place.
func elsewhere(parent *rule, n *node) string {
	switch {
	case n.key == "stage":
		return "stages stand side by side at the top level; needs gives the order"
	case parent.name == "template" && slices.Contains(stageRule.words(), n.key), parent.name == "defaults" && slices.Contains(stageRule.words(), n.key):
		return fmt.Sprintf("%s belongs inside the stage itself", n.key)
	case slices.Contains(stageRule.words(), n.key):
		return fmt.Sprintf("%s belongs inside a stage", n.key)
	case slices.Contains(fileRule.words(), n.key):
		return fmt.Sprintf("%s belongs at the top level", n.key)
	}
	return ""
}

// unknownProperty reports a property that the node does not have.
func (c *checker) unknownProperty(r *rule, n *node, p *property, _ *rule) {
	if r.name == "environment" && len(n.args) == 0 {
		return // meant as env, which is reported
	}
	where := n.key
	if n.key == "on" {
		where = n.label()
	}
	help := ""
	word := foreignWords[p.key]
	switch nearest := Nearest(p.key, r.propWords()); {
	case n.key == "artifact" && p.key == "from":
		help = fmt.Sprintf("write fetch %s from=%s", n.file.raw(argument(n)), n.file.raw(p.value.span))
	case word.meant != "" && r.prop(word.meant) != nil:
		help = meant(word.meant)
	case r.child(p.key) != nil:
		help = inBlock(n, p.key, p)
	case nearest != "":
		help = meant(nearest)
	case word.meant != "" && r.child(word.meant) != nil:
		help = inBlock(n, word.meant, p)
	case Nearest(p.key, r.words()) != "":
		help = inBlock(n, Nearest(p.key, r.words()), p)
	case len(r.props) > 0 && len(r.props) <= 12:
		help = "one of " + strings.Join(r.propWords(), ", ")
	case len(r.props) == 0:
		help = "it has no properties"
	}
	d := n.file.errorAt(p.name, "unknown-property", fmt.Sprintf("%s has no property %q", where, p.key), help)
	if nearest := Nearest(p.key, r.propWords()); nearest != "" && help == meant(nearest) {
		d.fix(n.file, p.name, nearest)
	}
}

// inBlock is the help for a property that has to be a child.
func inBlock(n *node, name string, p *property) string {
	return fmt.Sprintf("write it in the block: %s { %s %s; }", n.label(), name, n.file.raw(p.value.span))
}

// argument is the range of the first argument, or of the name without one.
func argument(n *node) span {
	if len(n.args) > 0 {
		return n.args[0].span
	}
	return n.name
}
