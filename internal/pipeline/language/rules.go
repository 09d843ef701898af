package language

import (
	"slices"
	"time"
)

// The top level of the language (pipelines.md 2.3), as data.

// events are the rules of `on`, by event.
var events = map[string]*rule{
	"push": {name: "on", repeat: true, children: []*rule{branches, paths, pathsIgnore}},
	"pull-request": {name: "on", repeat: true, props: []option{{name: "draft", form: oneOf("draft mode", "run", "skip")}}, children: []*rule{
		branches, paths, pathsIgnore,
		{name: "types", arg: oneOf("type", "opened", "updated", "reopened", "ready", "closed"), min: 1, max: 5, noun: "type", example: `types "opened" "updated"`},
		{name: "forks", arg: oneOf("fork mode", "no-secrets", "approve", "never"), noun: "mode", example: `forks "approve"`},
	}},
	"tag": {name: "on", repeat: true, children: []*rule{
		{name: "tags", arg: pattern, min: 1, max: many, noun: "pattern", example: `tags "v*"`},
	}},
	"schedule": {
		name: "on", repeat: true, oneOf: []string{"cron"}, example: `on "schedule" cron="0 3 * * 1-5"`,
		props: []option{{name: "cron", form: cronForm}, {name: "tz", form: zoneForm}, {name: "branch", form: text(250)}},
	},
	"manual": {name: "on", repeat: true},
	"upstream": {
		name: "on", repeat: true, oneOf: []string{"pipeline"}, example: `on "upstream" pipeline="base-images"`,
		props: []option{{name: "pipeline", form: text(250)}, {name: "status", form: oneOf("status", "succeeded", "failed", "finished")}, {name: "branch", form: pattern}},
	},
	"merge-group": {name: "on", repeat: true, children: []*rule{branches}},
	"stack":       {name: "on", repeat: true, level: should},
}

// Events are those that a file can ask for, in the order of the specification.
var Events = []string{"push", "pull-request", "tag", "schedule", "manual", "upstream", "merge-group", "stack"}

var (
	branches    = &rule{name: "branches", arg: pattern, min: 1, max: many, noun: "pattern", example: `branches "main" "release/*"`}
	paths       = &rule{name: "paths", arg: globForm, min: 1, max: many, noun: "glob", example: `paths "src/**"`}
	pathsIgnore = &rule{name: "paths-ignore", arg: globForm, min: 1, max: many, noun: "glob", example: `paths-ignore "docs/**"`}
	description = &rule{name: "description", arg: text(500), noun: "text", example: `description "What it is for"`}
)

// onRule is `on`, whose event chooses what it may hold.
var onRule = &rule{
	name: "on", repeat: true, arg: eventForm, noun: "event", example: `on "push"`, variants: events,
}

// envRule is `env`, the same at the top and in a stage.
var envRule = &rule{
	name: "env", repeat: true, arg: envArgument, max: 2, noun: "name and value", example: `env A="1"`,
	pairs: &pairs{noun: "variable", key: variableKey, value: envValue}, check: checkEnv,
}

var concurrencyRule = &rule{
	name: "concurrency", arg: template("a concurrency group", "", true), noun: "group", example: `concurrency "deploy-${git.ref}"`,
	props: []option{
		{name: "mode", form: oneOf("mode", "queue", "cancel-older", "skip")},
		{name: "limit", form: integer(1, 100)},
		{name: "except", form: pattern},
	},
}

// cacheChildren define a cache, at the top and inline in a stage.
var cacheChildren = []*rule{
	{name: "key", arg: cacheKey, noun: "key", example: `key "npm-${hash:package-lock.json}"`},
	{name: "path", arg: cachePath, min: 1, max: 16, noun: "path", example: `path "~/.npm"`},
	{name: "restore", arg: cacheRestore, max: 8, noun: "prefix", example: `restore "npm-"`},
}

var cacheOptions = []option{{name: "key", form: cacheKey}, {name: "path", form: cachePath}, {name: "restore", form: cacheRestore}}

// paramRule is a parameter of manual runs.
var paramRule = &rule{
	name: "param", repeat: true, arg: key("param"), noun: "name", example: `param "target"`,
	props: []option{
		{name: "type", form: oneOf("type", "string", "int", "bool", "choice")},
		{name: "default", form: scalar},
		{name: "required", form: boolean},
	},
	children: []*rule{
		description,
		{name: "choices", arg: scalar, min: 2, max: 50, noun: "choice", example: `choices "staging" "production"`},
	},
	check: checkParam,
}

// fileRule is a pipeline file.
var fileRule = &rule{name: "a pipeline file", children: []*rule{
	{name: "pipeline", arg: name("pipeline"), noun: "name", example: `pipeline "my-app"`, children: []*rule{
		description,
		{name: "timeout", arg: duration(time.Minute, 30*24*time.Hour), noun: "duration", example: `timeout "2h"`},
	}},
	onRule,
	envRule,
	paramRule,
	{
		name: "cache", repeat: true, arg: name("cache"), noun: "name", example: `cache "npm" { ... }`,
		props: cacheOptions, children: cacheChildren, oneOf: []string{"key", "path"},
	},
	{name: "defaults", children: pick(stageChildren, "image", "shell", "dir", "env", "runner", "timeout", "retry", "checkout")},
	{
		name: "template", repeat: true, arg: name("template"), noun: "name", example: `template "go-test" { ... }`,
		children: append([]*rule{templateParam}, without(stageChildren, "needs", "when", "environment", "approval", "with")...),
	},
	{
		name: "component", repeat: true, arg: name("component"), noun: "name", example: `component "api" path="services/api/**"`,
		props: []option{{name: "path", form: globForm}, {name: "uses", form: name("component")}},
		children: []*rule{
			{name: "path", arg: globForm, min: 1, max: 32, noun: "glob", example: `path "services/api/**"`},
			{name: "uses", arg: name("component"), min: 1, max: many, noun: "name", example: `uses "lib"`},
		},
		oneOf: []string{"path"},
	},
	concurrencyRule,
	{
		name: "include", repeat: true, arg: includePath, noun: "path", example: `include "ci/go.kdl"`,
		props: []option{{name: "ref", form: anyString}},
	},
	stageRule,
	{name: "notify", repeat: true, level: should},
}}

// templateParam is a parameter of a template, which a stage sets by `with`.
var templateParam = &rule{
	name: "param", repeat: true, arg: key("param"), noun: "name", example: `param "dir" default="."`,
	props: []option{{name: "default", form: scalar}},
}

// pick are the rules of those names.
func pick(rules []*rule, names ...string) []*rule {
	var picked []*rule
	for _, r := range rules {
		if slices.Contains(names, r.name) {
			picked = append(picked, r)
		}
	}
	return picked
}

// without are the rules of all other names.
func without(rules []*rule, names ...string) []*rule {
	var left []*rule
	for _, r := range rules {
		if !slices.Contains(names, r.name) {
			left = append(left, r)
		}
	}
	return left
}
