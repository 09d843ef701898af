package pipeline

import (
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// Defaults of an attempt.
const (
	defaultStage = time.Hour
	defaultGrace = 20 * time.Second
	beatEvery    = 10 * time.Second
	logKeep      = 1 << 30
	logLimit     = 10 << 30
)

// upstream is what the stages above one left behind, by node.
type upstream struct {
	ends      map[int]Stage
	artifacts map[int][]Artifact
}

// job is one attempt, ready to run: a pure function of the graph and of what the
// stages above left behind, so that it needs no row of its own. An error says what
// has no value, and the stage is errored.
func (g *Graph) job(org string, node, attempt int, above upstream) (supervisor.Job, error) {
	n, spec := g.Nodes[node], g.spec(node)
	facts := g.finalFacts(node, above)
	expand := func(text string, err *error) string {
		if *err != nil || !strings.Contains(text, "${") && !strings.Contains(text, "$$") {
			return text
		}
		var out string
		out, *err = language.Expand(text, facts)
		return out
	}
	var err error
	job := supervisor.Job{
		V: 1, Org: org, Run: string(g.Run), Stage: n.Name, StageKey: string(n.Key), Attempt: attempt,
		Trust: g.Trigger.Trust, Class: "process", Image: expand(spec.ImageT, &err),
		Shell: spec.Shell, Dir: expand(spec.DirT, &err), Outputs: spec.Outputs,
		Timeout: orDefault(spec.Timeout, defaultStage), Idle: spec.Idle, Grace: defaultGrace, Beat: beatEvery,
		LogKeep: logKeep, LogLimit: logLimit, Notices: notices(spec),
	}
	if !spec.Checkout.None && len(g.Trigger.Source) > 0 {
		job.Source = supervisor.Object{
			Kind: "source", Name: path.Join(g.Trigger.Source...),
			SHA256: g.Trigger.SourceSHA256, Size: g.Trigger.SourceSize,
		}
	}
	for i, c := range spec.Run {
		name := c.Name
		if name == "" {
			name = fmt.Sprintf("run %d", i+1)
		}
		job.Commands = append(job.Commands, supervisor.Command{
			Name: name, Script: c.Script, Dir: expand(c.DirT, &err), Timeout: c.Timeout,
		})
	}
	for _, s := range spec.Secrets {
		job.Secrets = append(job.Secrets, supervisor.SecretUse{Name: s.Name, As: orText(s.As, s.Name), File: s.File})
	}
	for _, a := range spec.Artifacts {
		job.Artifacts = append(job.Artifacts, supervisor.ArtifactUse{
			Name: a.Name, Value: expand(a.ValueT, &err), Paths: a.Paths, Exclude: a.Exclude,
			On: orText(a.On, "succeeded"), Optional: a.Optional,
		})
	}
	g.addReports(&job, node)
	if err == nil {
		job.Caches, err = g.caches(node, facts)
	}
	job.Env = g.environment(node, attempt, above, func(text string) string { return expand(text, &err) })
	if err == nil {
		job.Fetches, err = g.fetches(node, above)
	}
	if err != nil {
		return supervisor.Job{}, err
	}
	return job, nil
}

// finalFacts are the facts of a cell whose needs are final.
func (g *Graph) finalFacts(node int, above upstream) language.Facts {
	f := g.cellFacts(node, runtime.GOARCH)
	f.Outputs = make(map[string]map[string]string)
	f.Statuses = make(map[string]string)
	f.Artifacts = make(map[string]string)
	for i, end := range above.ends {
		if g.Nodes[i].Kind != Cell {
			continue
		}
		stage := g.spec(i)
		if f.Outputs[stage.Name] == nil {
			f.Outputs[stage.Name] = make(map[string]string)
		}
		for _, name := range stage.Outputs { // '' where the stage was skipped or wrote none
			f.Outputs[stage.Name][name] = end.Outputs[name]
		}
		f.Statuses[stage.Name] = worse(f.Statuses[stage.Name], string(end.Status))
		for _, a := range stage.Artifacts {
			if _, known := f.Artifacts[a.Name]; !known {
				f.Artifacts[a.Name] = ""
			}
		}
		for _, a := range above.artifacts[i] {
			f.Artifacts[a.Name] = orText(a.Value, a.SHA256)
		}
	}
	return f
}

// worse is the status of a matrix stage of which two cells ended so.
func worse(a, b string) string {
	if a == "" {
		return b
	}
	return string(joined([]ending{{Status: StageStatus(a)}, {Status: StageStatus(b)}}).Status)
}

// fetches are the artifacts that a cell unpacks. Those of a matrix come into
// folders named by cell.
func (g *Graph) fetches(node int, above upstream) ([]supervisor.Fetch, error) {
	var list []supervisor.Fetch
	for _, f := range g.spec(node).Fetches {
		found := false
		for _, maker := range g.makers(f.Name, f.From) {
			for _, a := range above.artifacts[maker] {
				if a.Name != f.Name {
					continue
				}
				if a.SHA256 == "" {
					return nil, problem.New(problem.Invalid, "fetch %q: it was made as a reference (value=), not as files; use $ARTIFACT_%s", f.Name, variable(f.Name))
				}
				found = true
				to, folder := orText(f.To, "."), ""
				if g.Nodes[maker].Total > 1 {
					to, folder = path.Join(to, g.folderName(maker)), to
				}
				list = append(list, supervisor.Fetch{
					Name: a.Name, To: to, Folder: folder, Optional: f.Optional,
					Manifest: supervisor.Object{Kind: "artifact", Name: a.Name, SHA256: a.SHA256, Size: a.ManifestSize},
				})
			}
		}
		if !found && !f.Optional {
			return nil, problem.New(problem.Invalid, "fetch %q: no stage above has made it", f.Name)
		}
	}
	return list, nil
}

// makers are the cells of the stage that makes an artifact; from names the stage,
// or is "".
func (g *Graph) makers(artifact, from string) []int {
	if from != "" {
		return g.cells[from]
	}
	var cells []int
	for _, stage := range g.Stages {
		for _, a := range stage.Artifacts {
			if a.Name == artifact {
				cells = append(cells, g.cells[stage.Name]...)
			}
		}
	}
	return cells
}

// folderName is a cell's name as one folder: its values, in axis order. Cells whose
// values make the same folder, or none, have a part of their key behind it.
func (g *Graph) folderName(node int) string {
	n := g.Nodes[node]
	name := valuesAsFolder(n)
	unsafe := strings.Trim(name, ".") == ""
	for _, other := range g.cells[g.spec(node).Name] {
		unsafe = unsafe || other != node && strings.EqualFold(valuesAsFolder(g.Nodes[other]), name)
	}
	if unsafe {
		return strings.ReplaceAll(name, ".", "_") + "-" + string(n.Key[:8])
	}
	return name
}

func valuesAsFolder(n Node) string {
	if len(n.Pairs) == 0 && n.Total > 1 { // of `parallel`
		return fmt.Sprint(n.Index + 1)
	}
	values := make([]string, 0, len(n.Pairs))
	for _, p := range n.Pairs {
		values = append(values, strings.Map(func(r rune) rune {
			if r == '/' || r == '\\' || r < ' ' {
				return '_'
			}
			return r
		}, p.Value))
	}
	return strings.Join(values, "-")
}

// environment is that of a command (pipelines.md 3.7); later wins.
func (g *Graph) environment(node, attempt int, above upstream, expand func(string) string) map[string]string {
	n, spec := g.Nodes[node], g.spec(node)
	env := g.platformEnv(n, attempt)
	for i, end := range above.ends {
		if g.Nodes[i].Kind == Cell {
			stage := variable(g.spec(i).Name)
			env["BUILDIT_NEED_"+stage+"_STATUS"] = worse(env["BUILDIT_NEED_"+stage+"_STATUS"], string(end.Status))
			for name, value := range end.Outputs {
				env["OUTPUT_"+stage+"_"+variable(name)] = value
			}
		}
		for _, a := range above.artifacts[i] {
			env["ARTIFACT_"+variable(a.Name)] = a.Value
		}
	}
	for _, f := range spec.Fetches {
		env["ARTIFACT_"+variable(f.Name)] = orText(f.To, ".")
	}
	g.environmentEnv(node, above, env, expand)
	for name, value := range g.Env {
		env[name] = expand(value)
	}
	for name, value := range spec.Env {
		env[name] = expand(value)
	}
	for _, p := range n.Pairs {
		env["MATRIX_"+variable(p.Key)] = p.Value
	}
	for name, value := range g.Params {
		env["PARAM_"+variable(name)] = value
	}
	for name, value := range spec.With {
		env["WITH_"+variable(name)] = value
	}
	if _, set := env["IMAGE"]; !set {
		env["IMAGE"] = "buildit.local/" + strings.ToLower(orText(g.Trigger.RepoName, "repository")) + ":" + orText(g.facts.ShortSHA, "working-tree")
	}
	return env
}

// environmentEnv names the environment of a stage, or else that which a stage above
// has deployed to.
func (g *Graph) environmentEnv(node int, above upstream, env map[string]string, expand func(string) string) {
	if e := g.spec(node).Environment; e != nil {
		env["BUILDIT_ENVIRONMENT"], env["BUILDIT_ENVIRONMENT_URL"] = expand(e.NameT), expand(e.URLT)
		return
	}
	for _, i := range slices.Sorted(maps.Keys(above.ends)) {
		if g.Nodes[i].Kind != Cell || !deploys(g.spec(i)) || above.ends[i].Status != StageSucceeded {
			continue
		}
		facts := g.cellFacts(i, "")
		name, errName := language.Expand(g.spec(i).Environment.NameT, facts)
		url, errURL := language.Expand(g.spec(i).Environment.URLT, facts)
		if errName == nil && errURL == nil { // what needs outputs of its own is known to that stage alone
			env["BUILDIT_ENVIRONMENT"], env["BUILDIT_ENVIRONMENT_URL"] = name, url
			return
		}
	}
}

const maxCommitMessage = 16 << 10

// platformEnv is what every command is told about its run.
func (g *Graph) platformEnv(n Node, attempt int) map[string]string {
	t := g.Trigger
	message := t.Message
	if len(message) > maxCommitMessage {
		message = strings.ToValidUTF8(message[:maxCommitMessage], "")
	}
	env := map[string]string{
		"CI": "true", "BUILDIT": "true",
		"BUILDIT_RUN_ID": string(g.Run), "BUILDIT_RUN_NUMBER": fmt.Sprint(g.Number), "BUILDIT_RUN_ATTEMPT": fmt.Sprint(max(t.Attempt, 1)),
		"BUILDIT_PIPELINE": g.Name, "BUILDIT_STAGE": n.Name, "BUILDIT_STAGE_KEY": string(n.Key), "BUILDIT_STAGE_ATTEMPT": fmt.Sprint(attempt),
		"BUILDIT_JOB_INDEX": fmt.Sprint(n.Index), "BUILDIT_JOB_TOTAL": fmt.Sprint(n.Total),
		"BUILDIT_EVENT": t.Event, "BUILDIT_TRUST": t.Trust, "BUILDIT_ACTOR": t.Actor,
		"BUILDIT_REPO": t.RepoURL, "BUILDIT_REPO_OWNER": t.RepoOwner, "BUILDIT_REPO_NAME": t.RepoName,
		"BUILDIT_REPO_URL": t.RepoURL, "BUILDIT_DEFAULT_BRANCH": t.DefaultBranch,
		"BUILDIT_SHA": t.Commit, "BUILDIT_SHORT_SHA": g.facts.ShortSHA, "BUILDIT_REF": t.Ref,
		"BUILDIT_BRANCH": t.Branch, "BUILDIT_TAG": t.Tag, "BUILDIT_BASE_SHA": t.BaseSHA,
		"BUILDIT_COMMIT_MESSAGE": message, "BUILDIT_COMMIT_AUTHOR": t.Author,
		"BUILDIT_CLASS": "process", "BUILDIT_ARCH": runtime.GOARCH, "BUILDIT_OS": "linux",
	}
	env["BUILDIT_COMMIT_TIME"] = "" // there, so that a script with `set -u` can ask
	if !t.CommitTime.IsZero() {
		env["BUILDIT_COMMIT_TIME"] = t.CommitTime.UTC().Format(time.RFC3339)
	}
	if t.Event == "pull-request" {
		number := "" // a local run plays one that has none
		if t.PullRequest > 0 {
			number = fmt.Sprint(t.PullRequest)
		}
		maps.Copy(env, map[string]string{
			"BUILDIT_PULL_REQUEST": number, "BUILDIT_PULL_REQUEST_BASE": t.Base,
			"BUILDIT_PULL_REQUEST_HEAD": t.Head, "BUILDIT_PULL_REQUEST_FORK": fmt.Sprint(t.Fork),
		})
	}
	return env
}

// notices are what people should know of the stage before it runs.
func notices(s *language.Stage) []supervisor.Notice {
	if s.ImageT == "" {
		return nil
	}
	return []supervisor.Notice{{
		Code: "image-not-used",
		Text: fmt.Sprintf("commands run on this machine, not in the image %s", s.ImageT),
	}}
}

// variable is a name as part of an environment variable.
func variable(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

func orText(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}
