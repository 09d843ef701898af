package convert

import (
	"fmt"
	"strings"
)

// githubNames are what GitHub knows of a run, under our names.
var githubNames = map[string]meaning{
	"github.sha":                               {text: "${git.sha}", variable: "BUILDIT_SHA"},
	"github.event.after":                       {text: "${git.sha}", variable: "BUILDIT_SHA"},
	"github.event.pull_request.head.sha":       {text: "${git.sha}", variable: "BUILDIT_SHA"},
	"github.event.pull_request.base.sha":       {variable: "BUILDIT_BASE_SHA"},
	"github.event.before":                      {variable: "BUILDIT_BASE_SHA"},
	"github.ref":                               {when: "ref", text: "${git.ref}", variable: "BUILDIT_REF"},
	"github.head_ref":                          {when: "head", text: "${git.head}", variable: "BUILDIT_PULL_REQUEST_HEAD"},
	"github.event.pull_request.head.ref":       {when: "head", text: "${git.head}", variable: "BUILDIT_PULL_REQUEST_HEAD"},
	"github.base_ref":                          {when: "base", text: "${git.base}", variable: "BUILDIT_PULL_REQUEST_BASE"},
	"github.event.pull_request.base.ref":       {when: "base", text: "${git.base}", variable: "BUILDIT_PULL_REQUEST_BASE"},
	"github.actor":                             {when: "actor", variable: "BUILDIT_ACTOR"},
	"github.triggering_actor":                  {when: "actor", variable: "BUILDIT_ACTOR"},
	"github.event.pull_request.user.login":     {when: "actor", variable: "BUILDIT_ACTOR"},
	"github.workflow":                          {when: "pipeline", text: "${pipeline.name}", variable: "BUILDIT_PIPELINE"},
	"github.job":                               {text: "${stage.name}", variable: "BUILDIT_STAGE"},
	"github.run_id":                            {text: "${run.id}", variable: "BUILDIT_RUN_ID"},
	"github.run_number":                        {text: "${run.number}", variable: "BUILDIT_RUN_NUMBER"},
	"github.run_attempt":                       {text: "${run.attempt}", variable: "BUILDIT_RUN_ATTEMPT"},
	"github.repository_owner":                  {text: "${repo.owner}", variable: "BUILDIT_REPO_OWNER"},
	"github.event.repository.name":             {text: "${repo.name}", variable: "BUILDIT_REPO_NAME"},
	"github.event.repository.default_branch":   {when: "default_branch", variable: "BUILDIT_DEFAULT_BRANCH"},
	"github.event.number":                      {variable: "BUILDIT_PULL_REQUEST"},
	"github.event.pull_request.number":         {variable: "BUILDIT_PULL_REQUEST"},
	"github.event.head_commit.message":         {variable: "BUILDIT_COMMIT_MESSAGE"},
	"github.event.pull_request.head.repo.fork": {when: "fork", bool: true, variable: "BUILDIT_PULL_REQUEST_FORK"},
	"github.workspace":                         {variable: "BUILDIT_WORKSPACE"},
	"runner.os":                                constant("Linux"),
	"runner.arch":                              constant("X64"),
	"runner.name":                              {variable: "BUILDIT_CLASS"},
	"runner.temp":                              {variable: "BUILDIT_TMP"},
	"strategy.job-index":                       {variable: "BUILDIT_JOB_INDEX"},
	"strategy.job-total":                       {variable: "BUILDIT_JOB_TOTAL"},
}

// githubVariables are the same in the environment of a command.
var githubVariables = map[string]string{
	"GITHUB_SHA": "BUILDIT_SHA", "GITHUB_REF": "BUILDIT_REF", "GITHUB_HEAD_REF": "BUILDIT_PULL_REQUEST_HEAD",
	"GITHUB_BASE_REF": "BUILDIT_PULL_REQUEST_BASE", "GITHUB_ACTOR": "BUILDIT_ACTOR", "GITHUB_WORKFLOW": "BUILDIT_PIPELINE",
	"GITHUB_JOB": "BUILDIT_STAGE", "GITHUB_RUN_ID": "BUILDIT_RUN_ID", "GITHUB_RUN_NUMBER": "BUILDIT_RUN_NUMBER",
	"GITHUB_RUN_ATTEMPT": "BUILDIT_RUN_ATTEMPT", "GITHUB_REPOSITORY_OWNER": "BUILDIT_REPO_OWNER",
	"GITHUB_WORKSPACE": "BUILDIT_WORKSPACE", "GITHUB_OUTPUT": "BUILDIT_OUTPUT", "GITHUB_ENV": "BUILDIT_ENV",
	"GITHUB_STEP_SUMMARY": "BUILDIT_SUMMARY", "RUNNER_TEMP": "BUILDIT_TMP",
}

// githubEvents are the events that a condition may ask for.
var githubEvents = map[string]string{
	"push": "push", "pull_request": "pull-request", "schedule": "schedule", "workflow_dispatch": "manual", "workflow_run": "upstream",
}

func (j *job) meaning(name string) (meaning, error) {
	low := strings.ToLower(name)
	parts := strings.Split(name, ".")
	switch root := strings.ToLower(parts[0]); {
	case low == "github.ref_name":
		return meaning{text: "${git.branch}", when: "branch", variable: "BUILDIT_BRANCH"}, nil
	case low == "github.ref_type" || low == "github.event_name" || low == "github.event.action" || low == "github.event.pull_request.draft":
		return meaning{}, fmt.Errorf("%s has other values here", name)
	case low == "github.token" || low == "secrets.github_token":
		return meaning{variable: j.secret("GITHUB_TOKEN")}, nil
	case low == "github.repository":
		return meaning{text: "${repo.owner}/${repo.name}", variable: "BUILDIT_REPO_OWNER}/${BUILDIT_REPO_NAME"}, nil
	case root == "github" && len(parts) > 3 && parts[1] == "event" && parts[2] == "inputs":
		return j.input(parts[3])
	case root == "inputs" && len(parts) == 2:
		return j.input(parts[1])
	case root == "secrets" && len(parts) == 2 && variableName().MatchString(parts[1]):
		return meaning{variable: j.secret(parts[1])}, nil
	case root == "matrix" && len(parts) == 2:
		key := axis(parts[1])
		return meaning{when: "matrix." + key, text: "${matrix." + key + "}", variable: "MATRIX_" + upper(key)}, nil
	case root == "env" && len(parts) == 2:
		m := meaning{variable: parts[1]}
		if value, plain := j.env[parts[1]]; plain {
			m.text = escapeField(value)
		}
		return m, nil
	case root == "needs" && len(parts) == 4 && parts[2] == "outputs":
		return j.needed(parts[1], parts[3])
	case root == "needs" && len(parts) == 3 && parts[2] == "result":
		return meaning{}, fmt.Errorf("a result is compared with success, failure, cancelled or skipped only")
	case root == "steps" && len(parts) == 4 && parts[2] == "outputs":
		return j.stepOutput(parts[1], parts[3])
	case root == "vars":
		return meaning{}, fmt.Errorf("%s is a variable of the repository's settings on GitHub", name)
	}
	if m, known := githubNames[low]; known {
		return m, nil
	}
	return meaning{}, fmt.Errorf("%s has no counterpart", name)
}

// input is a parameter; an int or a bool stands for itself.
func (j *job) input(name string) (meaning, error) {
	key := axis(name)
	kind, known := j.w.params[key]
	if !known {
		return meaning{}, fmt.Errorf("there is no input %s of manual runs", name)
	}
	return meaning{when: "param." + key, bool: kind == "bool", text: "${param." + key + "}", variable: "PARAM_" + upper(key)}, nil
}

// needed is an output of another job.
func (j *job) needed(id, output string) (meaning, error) {
	for _, other := range j.w.jobs {
		if other.id != id {
			continue
		}
		name, known := other.outputs[output]
		if !known {
			return meaning{}, fmt.Errorf("output %s of job %s is not written by a command", output, id)
		}
		return meaning{
			when: "outputs." + other.name + "." + name, text: "${outputs." + other.name + "." + name + "}",
			variable: "OUTPUT_" + upper(other.name) + "_" + upper(name),
		}, nil
	}
	return meaning{}, fmt.Errorf("there is no job %s", id)
}

// stepOutput is an output of an earlier step, which reaches later ones by
// $BUILDIT_ENV under its own name.
func (j *job) stepOutput(id, output string) (meaning, error) {
	for _, step := range j.item.get("steps").items() {
		if step.get("id").str() != id {
			continue
		}
		if step.get("run") == nil {
			return meaning{}, fmt.Errorf("output %s is that of an action", output)
		}
		if !variableName().MatchString(output) {
			return meaning{}, fmt.Errorf("%s is no name of a variable", output)
		}
		return meaning{variable: output}, nil
	}
	return meaning{}, fmt.Errorf("there is no step %s", id)
}

// results are how a need may have ended.
var results = map[string]string{
	"success": "status(%s) == 'succeeded'", "failure": "status(%s) in ['failed', 'errored', 'timed_out']",
	"cancelled": "status(%s) == 'canceled'", "skipped": "status(%s) == 'skipped'",
}

func (j *job) comparison(name, op, value string) (string, bool) {
	low := strings.ToLower(name)
	said := ""
	switch {
	case low == "github.ref" || low == "github.ref_name":
		return j.refCompared(low, op, value)
	case low == "github.ref_type" && value == "tag":
		said = "tag != ''"
	case low == "github.ref_type" && value == "branch":
		said = "branch != ''"
	case low == "github.event_name" && value == "push" && j.w.tags:
		said = "event in ['push', 'tag']"
	case low == "github.event_name" && githubEvents[value] != "":
		said = "event == '" + githubEvents[value] + "'"
		if op == "!=" {
			return "event != '" + githubEvents[value] + "'", true
		}
	case low == "github.repository" || low == "github.repository_owner":
		j.w.kept(j.item, name+" "+op+" '"+value+"'", "a pipeline runs only for the repository that it is connected to, so this is always so", "")
		said = "true"
		if value == "\x00github.event.pull_request.head.repo.full_name" {
			said = "!fork"
		}
	case low == "github.event.pull_request.head.repo.full_name":
		said = "!fork"
	case strings.HasPrefix(low, "needs.") && strings.HasSuffix(low, ".result") && results[value] != "":
		id := name[len("needs.") : len(name)-len(".result")]
		said = fmt.Sprintf(results[value], literal(j.stageOf(id)))
	}
	switch {
	case said == "" || op != "==" && op != "!=":
		return "", false
	case op == "==":
		return said, true
	case strings.Contains(said, " == "):
		return strings.Replace(said, " == ", " != ", 1), true
	case strings.HasPrefix(said, "!"):
		return said[1:], true
	}
	return negated(said), true
}

// refCompared compares a ref with refs/heads/… or refs/tags/….
func (j *job) refCompared(name, op, value string) (string, bool) {
	side, short := "", value
	switch {
	case name == "github.ref_name":
		side = "branch"
		if j.w.tags && op != "!=" {
			side = "tag"
			if op == "==" {
				return "branch == " + literal(value) + " || tag == " + literal(value), !strings.HasPrefix(value, "\x00")
			}
		}
	case strings.HasPrefix(value, "refs/heads/"):
		side, short = "branch", strings.TrimPrefix(value, "refs/heads/")
	case strings.HasPrefix(value, "refs/tags/") || value == "refs/tags":
		side, short = "tag", strings.TrimPrefix(strings.TrimPrefix(value, "refs/tags"), "/")
	case value == "\x00github.event.repository.default_branch":
		return "branch " + op + " default_branch", true
	default:
		return "", false
	}
	if strings.HasPrefix(short, "\x00") {
		return side + " " + op + " default_branch", short == "\x00github.event.repository.default_branch"
	}
	switch {
	case op == "==" || op == "!=":
		return side + " " + op + " " + literal(short), true
	case op == "starts_with" && short == "", op == "contains" && short == "":
		return side + " != ''", true
	case op == "starts_with", op == "ends_with", op == "contains":
		return op + "(" + side + ", " + literal(short) + ")", true
	}
	return "", false
}

// stageOf is the stage of a job.
func (j *job) stageOf(id string) string {
	for _, other := range j.w.jobs {
		if other.id == id {
			return other.name
		}
	}
	return id
}

// secret brings a secret into the stage, under its own name.
func (j *job) secret(name string) string {
	if j.secrets != nil {
		j.secrets[name] = true
	}
	return name
}
