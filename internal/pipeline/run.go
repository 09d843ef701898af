package pipeline

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/report"
)

// Run is one execution of a pipeline file for one commit, as people see it.
type Run struct {
	ID         RunID     `json:"id"`
	Number     int       `json:"number"`
	Attempt    int       `json:"attempt"`
	Pipeline   string    `json:"pipeline"` // name in the file, "" before it is read
	File       string    `json:"file"`
	Repository string    `json:"repository"`
	Event      string    `json:"event"`
	Subject    string    `json:"subject"`
	Commit     string    `json:"commit"`
	Branch     string    `json:"branch,omitempty"`
	Tag        string    `json:"tag,omitempty"`
	Message    string    `json:"message,omitempty"` // first line of the commit's
	Actor      string    `json:"actor,omitempty"`
	Trust      string    `json:"trust"`
	Status     Status    `json:"status"`
	Reason     string    `json:"reason,omitempty"` // kebab-case: config-invalid, user, timeout, …
	Why        string    `json:"why,omitempty"`    // a sentence for people
	Stages     int       `json:"stage_count"`
	Created    time.Time `json:"created_at"`
	Started    time.Time `json:"started_at,omitzero"`
	Ended      time.Time `json:"ended_at,omitzero"`
	RerunOf    RunID     `json:"rerun_of,omitempty"` // the attempt before
	Depth      int       `json:"depth,omitempty"`    // how many runs led to it by their ends
	// Problems are those of the file, with their places, when Reason is config-invalid or not-available.
	Problems []problem.Place `json:"problems,omitempty"`

	// Waits are what a queued run waits for.
	Waits []Wait `json:"waits,omitempty"`

	version int64
	graph   string // digest
	request string // the operation that asked for a rerun
	token   []byte // of the execution's wait, wrapped
	holds   []place
	queue   []claim // in which it waits
	forced  bool    // its cancel waits for no deployment
}

// Stage is one stage, or one cell of a matrix, as people see it.
type Stage struct {
	Key     StageKey          `json:"key"`
	Name    string            `json:"name"`
	Status  StageStatus       `json:"status"`
	Reason  string            `json:"reason,omitempty"` // an exit reason of pipelines.md 5.4, or why it was skipped
	Why     string            `json:"why,omitempty"`
	Attempt int               `json:"attempt"`
	Exit    *int              `json:"exit_code,omitempty"`
	Needs   []string          `json:"needs,omitempty"`
	Ready   time.Time         `json:"ready_at,omitzero"`
	Started time.Time         `json:"started_at,omitzero"`
	Ended   time.Time         `json:"ended_at,omitzero"`
	Outputs map[string]string `json:"outputs,omitempty"`
	Notices []Notice          `json:"notices,omitempty"`
	Lines   int64             `json:"log_lines"`
	Tests   *report.Totals    `json:"tests,omitempty"`
	Flaky   bool              `json:"flaky,omitempty"`        // passed on a later attempt
	From    RunID             `json:"carried_from,omitempty"` // the run that it ran in, if this one is a rerun that did not run it

	// Waits are what a gated stage waits for, Approval what it asks of people.
	Waits    []Wait        `json:"waits,omitempty"`
	Approval *ApprovalView `json:"approval,omitempty"`
	// Environment is what it deploys to, or uses.
	Environment string `json:"environment,omitempty"`

	open    int64
	version int64
	kind    NodeKind
	cause   string // of a cancel
	holds   []place
	queue   []claim   // in which it waits
	expires time.Time // until when people may decide
}

// Notice is something that people should know of a stage: code and sentence.
type Notice struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Artifact is what a stage has left behind: a reference, or files under a manifest.
type Artifact struct {
	Name         string    `json:"name"`
	Stage        string    `json:"stage"`
	Key          StageKey  `json:"stage_key"`
	Value        string    `json:"value,omitempty"`
	SHA256       string    `json:"digest,omitempty"` // of the manifest
	ManifestSize int64     `json:"manifest_bytes,omitempty"`
	Files        int       `json:"files,omitempty"`
	Bytes        int64     `json:"bytes,omitempty"`
	Created      time.Time `json:"created_at"`
	Expires      time.Time `json:"expires_at,omitzero"` // of files; a value stays with its run
}

// item is the row of a new run.
func (r Run) item() platform.Item {
	return platform.Item{
		"id": platform.Text(r.ID), "number": platform.Int(r.Number), "attempt": platform.Int(r.Attempt),
		"file": platform.Text(r.File), "repository": platform.Text(r.Repository),
		"event": platform.Text(r.Event), "subject": platform.Text(r.Subject), "commit": platform.Text(r.Commit),
		"branch": platform.Text(r.Branch), "tag": platform.Text(r.Tag), "message": platform.Text(r.Message),
		"actor": platform.Text(r.Actor), "trust": platform.Text(r.Trust), "why": platform.Text(r.Why), "depth": platform.Int(r.Depth),
		"status": platform.Text(r.Status), "created": platform.Stamp(r.Created), "version": platform.Int(r.version),
	}
}

// runOf reads a run's row.
func runOf(item platform.Item) (Run, error) {
	r := Run{
		ID: RunID(item.Text("id")), Number: int(item.Int("number")), Attempt: int(item.Int("attempt")),
		Pipeline: item.Text("pipeline"), File: item.Text("file"), Repository: item.Text("repository"),
		Event: item.Text("event"), Subject: item.Text("subject"), Commit: item.Text("commit"),
		Branch: item.Text("branch"), Tag: item.Text("tag"), Message: item.Text("message"),
		Actor: item.Text("actor"), Trust: item.Text("trust"),
		Status: Status(item.Text("status")), Reason: item.Text("reason"), Why: item.Text("why"),
		Stages:  int(item.Int("stages")),
		Created: item.Time("created"), Started: item.Time("started"), Ended: item.Time("ended"),
		version: item.Int("version"), graph: item.Text("graph"), token: item.Bytes("token"),
		holds: placesOf(item, "holds"), queue: claimsOf(item, "queue"), forced: item.Bool("forced"),
		RerunOf: RunID(item.Text("rerun_of")), request: item.Text("request"),
		Depth: int(item.Int("depth")),
	}
	if problems := item.Bytes("problems"); problems != nil {
		if err := json.Unmarshal(problems, &r.Problems); err != nil {
			return Run{}, fmt.Errorf("run %s: its problems cannot be read: %w", r.ID, err)
		}
	}
	return r, nil
}

// Ended is the run that ends with a change of a row, if it is one.
func Ended(c platform.Change) (Run, bool) {
	parents, parts := c.Key.Parents(), c.Key.Parts()
	if c.Old == nil || c.New == nil || len(parents) != 3 || parents[1] != "run" || len(parts) != 1 || parts[0] != "run" {
		return Run{}, false
	}
	run, err := runOf(c.New)
	return run, err == nil && run.Status.Final() && !Status(c.Old.Text("status")).Final()
}

// item is the row of a stage as the run begins.
func (s Stage) item() platform.Item {
	return platform.Item{
		"key": platform.Text(s.Key), "name": platform.Text(s.Name), "kind": platform.Text(s.kind),
		"status": platform.Text(s.Status), "reason": platform.Text(s.Reason), "why": platform.Text(s.Why),
		"attempt": platform.Int(s.Attempt), "open": platform.Int(s.open), "version": platform.Int(s.version),
		"needs": platform.TextList(s.Needs), "notices": noticeList(s.Notices),
	}
}

// stageOf reads a stage's row.
func stageOf(item platform.Item) Stage {
	s := Stage{
		Key: StageKey(item.Text("key")), Name: item.Text("name"), Status: StageStatus(item.Text("status")),
		Reason: item.Text("reason"), Why: item.Text("why"), Attempt: int(item.Int("attempt")),
		Needs: item.Texts("needs"), Ready: item.Time("ready"), Started: item.Time("started"), Ended: item.Time("ended"),
		Outputs: textMap(item, "outputs"), Notices: noticesOf(item), Lines: item.Int("lines"),
		open: item.Int("open"), version: item.Int("version"), kind: NodeKind(item.Text("kind")), cause: item.Text("cause"), From: RunID(item.Text("from")),
		holds: placesOf(item, "holds"), queue: claimsOf(item, "queue"), expires: item.Time("decide_until"),
	}
	if _, has := item["exit"]; has {
		code := int(item.Int("exit"))
		s.Exit = &code
	}
	s.Tests = totalsOf(item)
	s.Flaky = s.Attempt > 1 && s.Status == StageSucceeded
	return s
}

func (s Stage) ending() ending { return ending{s.Status, s.Reason} }

func noticeList(notices []Notice) platform.List {
	list := make(platform.List, len(notices))
	for i, n := range notices {
		list[i] = platform.TextList([]string{n.Code, n.Text})
	}
	return list
}

func noticesOf(item platform.Item) []Notice {
	list, isList := item["notices"].(platform.List)
	if !isList {
		return nil
	}
	var notices []Notice
	for _, v := range list {
		if pair := (platform.Item{"n": v}).Texts("n"); len(pair) == 2 {
			notices = append(notices, Notice{pair[0], pair[1]})
		}
	}
	return notices
}

func textMap(item platform.Item, name string) map[string]string {
	stored, isMap := item[name].(platform.Map)
	if !isMap || len(stored) == 0 {
		return nil
	}
	texts := make(map[string]string, len(stored))
	for key := range stored {
		texts[key] = platform.Item(stored).Text(key)
	}
	return texts
}

func mapOf(texts map[string]string) platform.Map {
	m := make(platform.Map, len(texts))
	for key, value := range texts {
		m[key] = platform.Text(value)
	}
	return m
}

func (a Artifact) item() platform.Item {
	item := platform.Item{
		"name": platform.Text(a.Name), "stage": platform.Text(a.Stage), "key": platform.Text(a.Key),
		"value": platform.Text(a.Value), "sha256": platform.Text(a.SHA256), "manifest": platform.Int(a.ManifestSize),
		"files": platform.Int(a.Files), "bytes": platform.Int(a.Bytes), "created": platform.Stamp(a.Created),
	}
	if !a.Expires.IsZero() {
		item["until"] = platform.Stamp(a.Expires)
	}
	return item
}

func artifactOf(item platform.Item) Artifact {
	return Artifact{
		Name: item.Text("name"), Stage: item.Text("stage"), Key: StageKey(item.Text("key")),
		Value: item.Text("value"), SHA256: item.Text("sha256"), ManifestSize: item.Int("manifest"),
		Files: int(item.Int("files")), Bytes: item.Int("bytes"), Created: item.Time("created"), Expires: item.Time("until"),
	}
}
