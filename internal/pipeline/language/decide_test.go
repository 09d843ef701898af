package language

import (
	"strings"
	"testing"
)

// decide loads a stage with this condition and decides it.
func decide(t *testing.T, when string, facts Facts) Truth {
	t.Helper()
	p := valid(t, `pipeline "p"
on "push"
on "pull-request"
on "tag"
on "manual"
param "n" type="int" default=3
param "dry" type="bool" default=false
param "who" default="x"
stage "need" { run "x"; output "V"; }
stage "a" needs="need" {
    matrix { os "linux" "mac"; }
    env A="${param.who}"
    run "x $PARAM_N $PARAM_DRY"
    `+when+`
}
`)
	got, err := Decide(p.Stages[1].When, facts)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	return got
}

func TestConditions(t *testing.T) {
	t.Parallel()
	push := Facts{Event: "push", Branch: "release/2", Ref: "refs/heads/release/2", Params: map[string]string{"n": "3", "dry": "true", "who": "O'Neil"}, Matrix: map[string]string{"os": "mac"}}
	for when, want := range map[string]Truth{
		`when branch="release/*"`:                                             True,
		`when branch="main"`:                                                  False,
		`when { branch "main" "release/*"; }`:                                 True,
		`when { branch "release/*" "!release/2"; }`:                           False,
		`when branch="release/*" event="manual"`:                              False,
		`when branch="main"; when event="push"`:                               True,
		`when tag="v*"`:                                                       False,
		`when path="src/**"`:                                                  True, // the files are unknown
		`when "branch == 'main' || event == 'push'"`:                          True,
		`when "!(branch == 'main')" event="push"`:                             True,
		`when "branch in ['main', 'release/2']"`:                              True,
		`when "branch =~ '^release/[0-9]+$'"`:                                 True,
		`when "branch !~ '^release'"`:                                         False,
		`when "match('release/*', branch)"`:                                   True,
		`when "starts_with(branch, 'rel') && ends_with(branch, '2')"`:         True,
		`when "contains(['a', 'b'], 'b') && contains(lower(branch), 'ease')"`: True,
		`when "param.n > 2 && param.n <= 3 && param.dry"`:                     True,
		`when "param.who == 'O''Neil'"`:                                       True,
		`when "matrix.os == 'mac'"`:                                           True,
		`when "changed('docs/**')"`:                                           True,
		`when "tag == ''"`:                                                    True,
		`when "fork"`:                                                         False,
		`when "status('need') == 'succeeded'"`:                                Unknown,
		`when "outputs.need.V == 'x'"`:                                        Unknown,
		`when "outputs.need.V == 'x' || event == 'push'"`:                     True,
		`when "outputs.need.V == 'x' && event == 'manual'"`:                   False,
		`when "!(outputs.need.V == 'x')"`:                                     Unknown,
		`when "outputs.need.V == 'x'"; when branch="main"`:                    Unknown,
		`when "outputs.need.V == 'x'"; when event="push"`:                     True,
		`when "outputs.need.V == 'x'" branch="main"`:                          False,
	} {
		if got := decide(t, when, push); got != want {
			t.Errorf("%s is %s, want %s", when, got, want)
		}
	}
}

// A condition that came through JSON, as a stored graph does, has lost what Load
// compiled, and decides the same.
func TestConditionWithoutLoad(t *testing.T) {
	t.Parallel()
	got, err := Decide([]When{{Expression: "branch == 'main' && param.n > 2"}}, Facts{Branch: "main", Params: map[string]string{"n": "3"}})
	if got != True || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Decide([]When{{Expression: "branch ="}}, Facts{}); err == nil {
		t.Error("half an expression was decided")
	}
	if _, err := Decide([]When{{Expression: "outputs.a.n < 3"}}, Facts{Statuses: map[string]string{"a": "succeeded"}, Outputs: map[string]map[string]string{"a": {"n": "many"}}}); err == nil {
		t.Error("a text was compared as a number")
	}
}

func TestBranchIsEmptyInPullRequest(t *testing.T) {
	t.Parallel()
	facts := Facts{Event: "pull-request", Base: "main", Head: "main"}
	for when, want := range map[string]Truth{`when branch="main"`: False, `when branch="*"`: False, `when base="main"`: True, `when "branch == ''"`: True} {
		if got := decide(t, when, facts); got != want {
			t.Errorf("%s is %s, want %s", when, got, want)
		}
	}
}

func TestForkBranchNamedMainDoesNotDeploy(t *testing.T) {
	t.Parallel()
	fork := Facts{Event: "pull-request", Fork: true, Base: "main", Head: "main", Ref: "refs/pull/1/head"}
	if got := decide(t, `when branch="main"`, fork); got != False {
		t.Errorf("it is %s", got)
	}
	p := valid(t, "pipeline \"p\"\nstage \"a\" { run \"x\"; }\n")
	if ok, _ := p.Matches(fork); !ok {
		t.Error("without on, forks make runs")
	}
	fork.Fork = false
	if ok, why := p.Matches(fork); ok || !strings.Contains(why, "push of its branch") {
		t.Errorf("without on, a pull request of the repository itself made a run (%s)", why)
	}
}

func TestPathsUnknownAfterForcePushMeansTrue(t *testing.T) {
	t.Parallel()
	unknown := Facts{Event: "push", Branch: "main"}
	known := Facts{Event: "push", Branch: "main", FilesKnown: true, Changed: []string{"docs/a.md"}}
	for _, when := range []string{`when path="src/**"`, `when "changed('src/**')"`} {
		if got := decide(t, when, unknown); got != True {
			t.Errorf("%s of unknown files is %s", when, got)
		}
		if got := decide(t, when, known); got != False {
			t.Errorf("%s is %s", when, got)
		}
	}
}

func TestRenamedFileMatchesBothPaths(t *testing.T) {
	t.Parallel()
	renamed := Facts{Event: "push", FilesKnown: true, Changed: []string{"old/a.go", "new/a.go"}} // git names both
	for _, when := range []string{`when path="old/**"`, `when path="new/**"`} {
		if got := decide(t, when, renamed); got != True {
			t.Errorf("%s is %s", when, got)
		}
	}
}

func TestUnknownOutputIsDecidedLater(t *testing.T) {
	t.Parallel()
	const when = `when "outputs.need.V == 'yes'"`
	facts := Facts{Event: "push"}
	if got := decide(t, when, facts); got != Unknown {
		t.Errorf("before the need has ended it is %s", got)
	}
	facts.Statuses = map[string]string{"need": "succeeded"}
	facts.Outputs = map[string]map[string]string{"need": {"V": "yes"}}
	if got := decide(t, when, facts); got != True {
		t.Errorf("afterwards it is %s", got)
	}
}

func TestOutputOfSkippedStageIsEmpty(t *testing.T) {
	t.Parallel()
	facts := Facts{Event: "push", Statuses: map[string]string{"need": "skipped"}}
	if got := decide(t, `when "outputs.need.V == ''"`, facts); got != True {
		t.Errorf("it is %s", got)
	}
	if text, err := Expand("[${outputs.need.V}]", facts); text != "[]" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	p := valid(t, `pipeline "p"
on "push" { branches "main" "release/*" "!release/old"; paths "src/**"; paths-ignore "**/*.md"; }
on "pull-request" draft="skip" { branches "main"; forks "never"; types "opened" "closed"; }
on "tag" { tags "v*"; }
on "schedule" cron="0 3 * * *" branch="main"
on "merge-group" { branches "main"; }
stage "a" { run "x"; }
`)
	for _, tt := range []struct {
		facts Facts
		why   string // "" matches
	}{
		{Facts{Event: "push", Branch: "main"}, ""},
		{Facts{Event: "push", Branch: "release/1"}, ""},
		{Facts{Event: "push", Branch: "release/old"}, "branch release/old is not of"},
		{Facts{Event: "push", Branch: "dev"}, "branch dev is not of"},
		{Facts{Event: "push", Branch: "main", FilesKnown: true, Changed: []string{"src/a.go"}}, ""},
		{Facts{Event: "push", Branch: "main", FilesKnown: true, Changed: []string{"x.go"}}, "no changed file matches src/**"},
		{Facts{Event: "push", Branch: "main", FilesKnown: true, Changed: []string{"src/a.md"}}, "every changed file matches paths-ignore"},
		{Facts{Event: "push", Branch: "main", FilesKnown: true, Changed: []string{"src/a.md", "src/a.go"}}, ""},
		{Facts{Event: "pull-request", Base: "main", Action: "opened"}, ""},
		{Facts{Event: "pull-request", Base: "main"}, ""},
		{Facts{Event: "pull-request", Base: "dev"}, "base branch dev is not of main"},
		{Facts{Event: "pull-request", Base: "main", Action: "updated"}, "not run when a pull request is updated"},
		{Facts{Event: "pull-request", Base: "main", Draft: true}, "not run for drafts"},
		{Facts{Event: "pull-request", Base: "main", Fork: true}, "not run for forks"},
		{Facts{Event: "tag", Tag: "v1"}, ""},
		{Facts{Event: "tag", Tag: "x"}, "tag x is not of v*"},
		{Facts{Event: "schedule", Branch: "main"}, ""},
		{Facts{Event: "schedule", Branch: "dev"}, "the schedule runs branch main"},
		{Facts{Event: "merge-group", Base: "main"}, ""},
		{Facts{Event: "merge-group", Base: "dev"}, "base branch dev is not of main"},
		{Facts{Event: "manual"}, ""},
		{Facts{Event: "upstream"}, `the pipeline has no on "upstream"`},
	} {
		ok, why := p.Matches(tt.facts)
		if ok != (tt.why == "") || !strings.HasPrefix(why, tt.why) {
			t.Errorf("%+v: %v, %q", tt.facts, ok, why)
		}
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	facts := Facts{
		SHA: "abc", Branch: "${git.sha}", Params: map[string]string{"to": "prod"}, Matrix: map[string]string{"go": "1.26"}, OS: "linux",
		Artifacts: map[string]string{"app.v1": "registry/app@sha256:1"}, Statuses: map[string]string{"a.b": "succeeded"},
		Outputs: map[string]map[string]string{"a.b": {"V": "2"}},
		Hash:    func(globs []string) (string, error) { return strings.Join(globs, "+"), nil },
	}
	for text, want := range map[string]string{
		"x-${git.sha}-${param.to}":            "x-abc-prod",
		"${git.branch}":                       "${git.sha}", // what comes out is not read again
		"$${git.sha} $$ ${HOME} ${X%.txt}":    "${git.sha} $$ ${HOME} ${X%.txt}",
		"${matrix.go}${matrix.extra}":         "1.26", // an extra key of another cell
		"${outputs.a.b.V} ${artifact.app.v1}": "2 registry/app@sha256:1",
		"${hash:go.sum,a/**}-${os}":           "go.sum+a/**-linux",
		"${a:-b.c} ${git.sha":                 "${a:-b.c} ${git.sha",
	} {
		if got, err := Expand(text, facts); got != want || err != nil {
			t.Errorf("%s is %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"${git.nothing}", "${param.x}", "${outputs.c.V}", "${artifact.x}", "${with.x}"} {
		if got, err := Expand(text, facts); err == nil {
			t.Errorf("%s is %q", text, got)
		}
	}
}

func TestGlobs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"*.go", "a.go", true},
		{"*.go", "b/a.go", false},
		{"**/*.go", "a.go", true},
		{"**/*.go", "b/c/a.go", true},
		{"docs/**", "docs/a/b", true},
		{"docs/**", "docs", false},
		{"a/**/b", "a/b", true},
		{"a/**/b", "a/x/y/b", true},
		{"v[0-9]*", "v1.2", true},
		{"v[0-9]*", "vx", false},
		{"[!a]x", "bx", true},
		{"[!a]x", "ax", false},
		{"{a,b/*}.go", "b/c.go", true},
		{"{a,b}", "c", false},
		{"a?c", "abc", true},
		{"a?c", "a/c", false},
		{"a.c", "abc", false},
		{"(x)+", "(x)+", true},
	} {
		if got := matchGlob(tt.pattern, tt.text); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.text, got)
		}
		if s := sample(tt.pattern); !matchGlob(tt.pattern, s) {
			t.Errorf("the sample %q does not match %q", s, tt.pattern)
		}
	}
}

// The suggestions of people who swap, drop and double letters.
func TestNearest(t *testing.T) {
	t.Parallel()
	words := []string{"image", "run", "needs", "environment"}
	for word, want := range map[string]string{
		"imgae": "image", "rum": "run", "rnu": "run", "ru": "run", "need": "needs", "Run": "run", "enviroment": "environment", "r": "", "xyz": "", "nedes": "needs", "ab": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// An event of which a condition may speak is one that its stage may run for.
func TestEventsThatConditionsSpeakOf(t *testing.T) {
	t.Parallel()
	for _, on := range []string{
		"on \"merge-group\" { branches \"main\"; }\nstage \"a\" { when base=\"main\"; run \"x\"; }\n",
		"on \"upstream\" pipeline=\"b\"\nstage \"a\" { when tag=\"v*\"; run \"x\"; }\n",
		"on \"upstream\" pipeline=\"b\"\nstage \"a\" { when branch=\"main\"; run \"x\"; }\n",
	} {
		valid(t, "pipeline \"p\"\n"+on)
	}
}

func TestWhoHearsOfAnEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		event          Event
		status, branch string
		want           bool
	}{
		{Event{Status: "succeeded"}, "succeeded", "main", true},
		{Event{Status: "succeeded"}, "failed", "main", false},
		{Event{Status: "succeeded"}, "canceled", "main", false},
		{Event{Status: "failed"}, "timed_out", "main", true},
		{Event{Status: "failed"}, "errored", "main", true},
		{Event{Status: "failed"}, "succeeded", "main", false},
		{Event{Status: "finished"}, "succeeded", "", true},
		{Event{Status: "finished"}, "failed", "", true},
		{Event{Status: "finished"}, "canceled", "", true},
		{Event{Status: "finished"}, "skipped", "", false},
		{Event{Status: "finished", Branch: "release/*"}, "succeeded", "release/1", true},
		{Event{Status: "finished", Branch: "release/*"}, "succeeded", "main", false},
		{Event{Status: "finished", Branch: "main"}, "succeeded", "", false}, // of a tag
	} {
		if got := tt.event.Hears(tt.status, tt.branch); got != tt.want {
			t.Errorf("%s on %q hears of %s on %q: %v", tt.event.Status, tt.event.Branch, tt.status, tt.branch, got)
		}
	}
}
