package language

import "time"

// What a stage may hold (pipelines.md 2.4), as data.

var stageRule = &rule{
	name: "stage", repeat: true, arg: name("stage"), noun: "name", example: `stage "test"`,
	props: []option{
		{name: "needs", form: stageName},
		{name: "use", form: anyName("template")},
		{name: "component", form: anyName("component")},
		{name: "manual", form: boolean},
	},
	children: stageChildren,
}

var stageChildren = []*rule{
	description,
	{name: "image", arg: image, noun: "image", example: `image "node:24"`},
	{
		name: "run", repeat: true, arg: script, noun: "script", example: `run "make test"`,
		props: []option{{name: "name", form: text(200)}, {name: "dir", form: folder}, {name: "timeout", form: duration(time.Second, 24*time.Hour)}},
	},
	{name: "shell", arg: text(200), min: 1, max: 16, noun: "word", example: `shell "bash"`, check: checkShell},
	{name: "dir", arg: folder, noun: "path", example: `dir "server"`},
	{
		name: "needs", repeat: true, arg: stageName, min: 1, max: 200, noun: "name", example: `needs "test"`,
		props: []option{{name: "on", form: oneOf("status", "succeeded", "succeeded-or-skipped", "failed", "finished")}},
	},
	{
		name: "when", repeat: true, arg: expression, min: 0, noun: "expression", example: `when branch="main"`,
		props: whenConditions, children: whenChildren, check: checkWhen,
	},
	envRule,
	{
		name: "secret", repeat: true, arg: variableName, min: 1, max: 50, noun: "name", example: `secret "NPM_TOKEN"`,
		props: []option{{name: "as", form: variableKey}, {name: "file", form: boolean}}, check: checkSecret,
	},
	{
		name: "service", repeat: true, arg: image, noun: "image", example: `service "postgres:17" as="db"`,
		props: []option{{name: "as", form: name("service")}},
		children: []*rule{
			envRule,
			{name: "port", repeat: true, arg: integer(1, 65535), min: 1, max: 32, noun: "port", example: "port 5432"},
			{
				name: "ready", arg: script, noun: "command", example: `ready "pg_isready"`,
				props: []option{{name: "timeout", form: duration(time.Second, time.Hour)}},
			},
			{name: "command", arg: text(4096), min: 1, max: 64, noun: "word", example: `command "postgres" "-c" "fsync=off"`},
		},
		check: checkService,
	},
	{
		name: "matrix", example: `matrix { go "1.25" "1.26"; }`,
		props: []option{{name: "max-parallel", form: integer(1, 256)}, {name: "fail-fast", form: boolean}},
		children: []*rule{
			{name: "exclude", repeat: true, example: `exclude os="linux"`, pairs: &pairs{noun: "axis", key: axisKey, value: scalar}},
			{name: "include", repeat: true, example: `include os="linux"`, pairs: &pairs{noun: "axis", key: axisKey, value: scalar}},
		},
		pairs: &pairs{noun: "axis", key: axisKey, value: scalar, max: 64}, check: checkMatrix,
	},
	{
		name: "cache", repeat: true, arg: anyName("cache"), noun: "name", example: `cache "npm"`,
		props:    append([]option{{name: "mode", form: oneOf("mode", "read-write", "read")}}, cacheOptions...),
		children: cacheChildren, check: checkInlineCache,
	},
	{
		name: "artifact", repeat: true, arg: name("artifact"), noun: "name", example: `artifact "site" path="dist/**"`,
		props: []option{
			{name: "value", form: template("an artifact", "name an artifact", false)},
			{name: "path", form: globForm},
			{name: "on", form: oneOf("status", "succeeded", "failed", "finished")},
			{name: "expire", form: duration(24*time.Hour, 400*24*time.Hour)},
			{name: "optional", form: boolean},
		},
		children: []*rule{
			{name: "path", arg: globForm, min: 1, max: many, noun: "glob", example: `path "dist/**"`},
			{name: "exclude", arg: globForm, min: 1, max: many, noun: "glob", example: `exclude "**/*.map"`},
		},
		check: checkArtifact,
	},
	{
		name: "fetch", repeat: true, arg: anyName("artifact"), noun: "name", example: `fetch "site"`,
		props: []option{{name: "from", form: stageName}, {name: "to", form: treePath}, {name: "optional", form: boolean}},
	},
	{name: "output", repeat: true, arg: variableKey, min: 1, max: 64, noun: "name", example: `output "version"`},
	{
		name: "report", repeat: true, arg: oneOf("report", "junit", "gotest", "coverage", "sarif"), noun: "kind", example: `report "junit" path="report.xml"`,
		props:    []option{{name: "path", form: globForm}, {name: "required", form: boolean}},
		variants: reports,
	},
	{
		name: "retry", arg: integer(0, 5), noun: "number", example: "retry 2",
		props:    []option{{name: "on", form: retryClass}, {name: "backoff", form: duration(time.Second, 5*time.Minute)}},
		children: []*rule{{name: "on", arg: retryClass, min: 1, max: 16, noun: "class", example: `on "infra" "exit:1"`}},
	},
	{
		name: "timeout", arg: duration(10*time.Second, 24*time.Hour), noun: "duration", example: `timeout "20m"`,
		props: []option{{name: "idle", form: idle}},
	},
	{
		name: "allow-failure", example: "allow-failure",
		props:    []option{{name: "exit", form: integer(1, 255)}},
		children: []*rule{{name: "exit", arg: integer(1, 255), min: 1, max: 64, noun: "code", example: "exit 77"}},
	},
	{
		name: "approval", arg: text(100), min: 0, max: 20, noun: "group", example: `approval "release-team"`,
		props: []option{
			{name: "count", form: integer(1, 10)},
			{name: "timeout", form: duration(time.Minute, 30*24*time.Hour)},
			{name: "message", form: template("a message", "", true)},
			{name: "self", form: boolean},
		},
	},
	{
		name: "environment", arg: environment, noun: "name", example: `environment "production"`,
		props: []option{{name: "mode", form: oneOf("mode", "deploy", "use")}, {name: "url", form: template("a URL", "", true)}},
	},
	concurrencyRule,
	{
		name: "runner", arg: runnerClass, noun: "class", example: `runner "auto"`,
		props: []option{{name: "size", form: size}, {name: "arch", form: oneOf("architecture", "amd64", "arm64")}, {name: "spot", form: boolean}},
	},
	{
		name: "checkout", arg: oneOf("checkout", "none"), min: 0, noun: "word", example: "checkout depth=0",
		props: []option{
			{name: "depth", form: integer(0, 1_000_000)},
			{name: "submodules", form: boolean, level: should},
			{name: "lfs", form: boolean, level: should},
			{name: "ref", form: checkoutRef},
		},
	},
	{name: "use", arg: anyName("template"), noun: "name", example: `use "go-test"`},
	{name: "with", pairs: &pairs{noun: "param", key: key("param"), value: scalar}, example: `with dir="server"`},
	{name: "image-build", repeat: true, level: should},
	{name: "app", repeat: true, level: should},
	{name: "stack", level: should},
	{name: "oidc", repeat: true, level: should},
	{
		name: "parallel", arg: integer(2, maxShares), noun: "number", example: `parallel 4 files="**/*_test.go"`,
		props: []option{{name: "split", form: oneOf("split", "timing", "name", "count")}, {name: "files", form: globForm}},
		check: checkParallel,
	},
	{name: "generate", level: later},
}

// stageRepeats are the children of a stage that may stand more than once.
var stageRepeats = func() map[string]bool {
	repeats := map[string]bool{}
	for _, r := range stageChildren {
		repeats[r.name] = r.repeat
	}
	return repeats
}()

// reports are the kinds of report, each with its example.
var reports = map[string]*rule{
	"junit":    reportRule(`report "junit" path="report.xml"`),
	"gotest":   reportRule(`report "gotest" path="report.json"`),
	"coverage": reportRule(`report "coverage" path="coverage.out"`),
	"sarif":    reportRule(`report "sarif" path="results.sarif"`),
}

func reportRule(example string) *rule {
	return &rule{
		name: "report", oneOf: []string{"path"}, example: example,
		props: []option{{name: "path", form: globForm}, {name: "required", form: boolean}},
	}
}

// whenConditions are what a `when` may ask, as property or as child.
var whenConditions = []option{
	{name: "branch", form: pattern},
	{name: "tag", form: pattern},
	{name: "event", form: whenEvent},
	{name: "base", form: pattern},
	{name: "path", form: globForm},
	{name: "status", form: oneOf("status", "succeeded", "failed", "finished")},
}

// whenChildren are the same conditions with several values.
var whenChildren = func() []*rule {
	var rules []*rule
	for _, o := range whenConditions {
		limit := many
		if o.name == "status" {
			limit = 1
		}
		rules = append(rules, &rule{name: o.name, arg: o.form, min: 1, max: limit, noun: "value", example: o.name + ` "..."`})
	}
	return rules
}()
