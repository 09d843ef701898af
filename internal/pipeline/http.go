package pipeline

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// API serves runs to people and programs.
type API struct {
	Service *Service
	Logs    *LogStore
	// Trigger turns a request to run a repository's pipeline by hand into a trigger;
	// reading git is not this package's.
	Trigger func(ctx context.Context, caller access.Caller, in StartRequest) (Trigger, error)
}

// StartRequest asks for a run by hand.
type StartRequest struct {
	Repository string            `json:"repository"`
	File       string            `json:"file,omitempty"`   // .buildit.kdl if empty
	Branch     string            `json:"branch,omitempty"` // the default branch if empty
	Params     map[string]string `json:"params,omitempty"`
}

// CancelRequest may say why.
type CancelRequest struct {
	Reason string `json:"reason,omitempty"`
}

// Event is one step of a run or a stage, as it was recorded.
type Event struct {
	Entity  string    `json:"entity"` // run or stage
	Stage   string    `json:"stage,omitempty"`
	Key     StageKey  `json:"stage_key,omitempty"`
	From    string    `json:"from,omitempty"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason,omitempty"`
	Why     string    `json:"why,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	Version int       `json:"version"`
	At      time.Time `json:"at"`
}

// Routes are the operations on runs.
func (a *API) Routes() []access.Route {
	const run = "/api/v1/orgs/{org}/runs/{run}"
	return []access.Route{
		{
			Pattern: "GET /api/v1/orgs/{org}/runs", Action: access.RunRead, Resource: access.OfOrg(),
			Summary: "Runs, newest first", Out: access.Page[Run]{}, Handle: a.list,
			Query: access.WindowQuery(map[string]string{
				"repository": "Only runs of this repository.", "status": "Only runs at this status.", "branch": "Only runs of this branch.",
			}),
		},
		{
			Pattern: "POST /api/v1/orgs/{org}/runs", Action: access.PipelineRun, Resource: access.OfOrg(),
			Summary: "Run a pipeline by hand", In: StartRequest{}, Out: Run{}, Status: http.StatusCreated, Handle: a.start,
		},
		{
			Pattern: "GET " + run, Action: access.RunRead, Resource: access.InPath("run"),
			Summary: "A run with its stages and artifacts", Out: View{}, Handle: a.get,
		},
		{
			Pattern: "POST " + run + "/cancel", Action: access.RunCancel, Resource: access.InPath("run"),
			Summary: "Cancel a run", In: CancelRequest{}, Out: Run{}, Handle: a.cancel,
		},
		{
			Pattern: "GET " + run + "/events", Action: access.RunRead, Resource: access.InPath("run"),
			Summary: "What happened in a run", Out: access.Page[Event]{}, Query: access.WindowQuery(nil), Handle: a.events,
		},
		{
			Pattern: "GET " + run + "/artifacts", Action: access.ArtifactRead, Resource: access.InPath("run"),
			Summary: "What the stages of a run left behind", Out: access.Page[Artifact]{}, Handle: a.artifacts,
		},
		{
			Pattern: "GET " + run + "/artifacts/{name}", Action: access.ArtifactDownload, Resource: access.InPath("run"),
			Summary: "An artifact: its value, or its manifest", Out: Artifact{}, Handle: a.artifact,
			Query: map[string]string{"stage": "Key of the cell that made it, where several did.", "blob": "SHA-256 of one file of the manifest, to read its bytes."},
		},
		{
			Pattern: "GET " + run + "/stages/{stage}/log", Action: access.LogRead, Resource: access.InPath("run"),
			Summary: "The log of a stage, raw", Handle: a.log,
			Query: map[string]string{
				"attempt": "Its attempt; the latest if absent.", "from": "The segment to begin with, from 0.",
				"wait": "How long to wait for more, at most 20s.",
			},
		},
	}
}

func (a *API) list(r *http.Request, caller access.Caller) (any, error) {
	window, err := access.ParseWindow(r)
	if err != nil {
		return nil, err
	}
	filter := platform.All{}
	for _, name := range []string{"repository", "status", "branch"} {
		if value := r.URL.Query().Get(name); value != "" {
			filter = append(filter, platform.Equal{Attribute: name, Value: platform.Text(value)})
		}
	}
	page, err := a.Service.home.Table.Query(r.Context(), platform.Query{
		Partition: listOfRuns(caller.Org), Index: platform.List1, Filter: filter, Reverse: true,
		Limit: window.Limit, Cursor: window.Cursor,
	})
	if err != nil {
		return nil, err
	}
	runs := make([]Run, 0, len(page.Rows))
	for _, row := range page.Rows {
		run, err := runOf(row.Item)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return access.NewPage(runs, page.Cursor), nil
}

func (a *API) start(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[StartRequest](r)
	if err != nil {
		return nil, err
	}
	if in.Repository == "" {
		return nil, problem.New(problem.Invalid, "Which repository? Send its id.").InField("repository")
	}
	trigger, err := a.Trigger(r.Context(), caller, in)
	if err != nil {
		return nil, err
	}
	run, err := a.Service.Start(r.Context(), caller.Org, trigger)
	if err == nil {
		err = run.Problem()
	}
	return run, err
}

func (a *API) get(r *http.Request, caller access.Caller) (any, error) {
	run, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	return a.Service.View(r.Context(), caller.Org, run)
}

func (a *API) cancel(r *http.Request, caller access.Caller) (any, error) {
	run, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	in, err := access.Decode[CancelRequest](r)
	if err != nil {
		return nil, err
	}
	return a.Service.Cancel(r.Context(), caller.Org, run, "user", orText(in.Reason, "canceled by "+caller.Name))
}

func (a *API) events(r *http.Request, caller access.Caller) (any, error) {
	run, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	window, err := access.ParseWindow(r)
	if err != nil {
		return nil, err
	}
	partition := runPartition(caller.Org, run)
	page, err := a.Service.home.Table.Query(r.Context(), platform.Query{
		Partition: partition, Prefix: partition.Rows("event"), Limit: window.Limit, Cursor: window.Cursor,
	})
	if err != nil {
		return nil, err
	}
	events := make([]Event, 0, len(page.Rows))
	for _, row := range page.Rows {
		item := row.Item
		events = append(events, Event{
			Entity: item.Text("entity"), Stage: item.Text("name"), Key: StageKey(item.Text("key")),
			From: item.Text("from"), Status: item.Text("status"), Reason: item.Text("reason"), Why: item.Text("why"),
			Attempt: int(item.Int("attempt")), Version: int(item.Int("version")), At: item.Time("at"),
		})
	}
	return access.NewPage(events, page.Cursor), nil
}

func (a *API) artifacts(r *http.Request, caller access.Caller) (any, error) {
	run, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	list, err := a.Service.Artifacts(r.Context(), caller.Org, run)
	return access.NewPage(list, ""), err
}

// artifact answers a reference as it is, and of files the manifest, or with ?blob=
// one of its files.
func (a *API) artifact(r *http.Request, caller access.Caller) (any, error) {
	run, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	list, err := a.Service.Artifacts(r.Context(), caller.Org, run)
	if err != nil {
		return nil, err
	}
	stage := r.URL.Query().Get("stage")
	for _, found := range list {
		if found.Name != r.PathValue("name") || stage != "" && string(found.Key) != stage {
			continue
		}
		if found.SHA256 == "" {
			return found, nil
		}
		if blob := r.URL.Query().Get("blob"); blob != "" {
			return a.object(r, caller.Org, "blob", blob)
		}
		return a.object(r, caller.Org, "artifact", found.SHA256)
	}
	return nil, problem.New(problem.NotFound, "Run %s has no artifact %q.", run, r.PathValue("name"))
}

// object answers with the bytes of an object.
func (a *API) object(r *http.Request, org platform.Org, kind, digest string) (any, error) {
	if !isDigest(digest) {
		return nil, problem.New(problem.Invalid, "%q is no SHA-256 in hex.", digest)
	}
	body, info, err := a.Service.home.Blobs.Open(r.Context(), objectBlob(org, kind, digest), 0)
	if errors.Is(err, platform.ErrNotFound) {
		return nil, problem.New(problem.NotFound, "There is no such object; it may have expired.")
	}
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
		w.Header().Set("Content-Type", "application/octet-stream")
		_, err := io.Copy(w, body)
		if err := errors.Join(err, body.Close()); err != nil {
			a.Service.Log.InfoContext(r.Context(), "object not sent", "err", err) // the caller hung up
		}
	}), nil
}

// maxWait is the longest that a reader of a log is made to wait for more.
const maxWait = 20 * time.Second

// log answers a log as raw bytes from one segment on. The header Buildit-Next names
// the segment to ask for next, and Buildit-Complete whether more will come.
func (a *API) log(r *http.Request, caller access.Caller) (any, error) {
	name, from, wait, err := a.logRequest(r, caller)
	if err != nil {
		return nil, err
	}
	follower := &Follower{service: a.Service, logs: a.Logs}
	text := name.Run.path(name.Key, name.Attempt)
	deadline := a.Service.home.Clock.Now().Add(wait)
	for {
		view, err := follower.Segments(r.Context(), caller, text, access.From{Segment: from})
		if err != nil {
			return nil, err
		}
		left := deadline.Sub(a.Service.home.Clock.Now())
		if len(view.Segments) > 0 || view.Ended || left <= 0 {
			return sendLog(view), nil
		}
		ctx, cancel := context.WithTimeout(r.Context(), left)
		select {
		case <-view.Changed:
		case <-ctx.Done():
		}
		cancel()
	}
}

func sendLog(view access.LogView) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Buildit-Next", strconv.Itoa(view.Next))
		w.Header().Set("Buildit-Complete", strconv.FormatBool(view.Ended))
		for _, segment := range view.Segments {
			if _, err := w.Write(segment.Text); err != nil {
				return // the caller hung up
			}
		}
	})
}

func (r RunID) path(key StageKey, attempt int) string {
	return string(r) + "/" + string(key) + "/" + strconv.Itoa(attempt)
}

func (a *API) logRequest(r *http.Request, caller access.Caller) (name LogName, from int, wait time.Duration, err error) {
	run, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return name, 0, 0, err
	}
	key, err := ParseStageKey(r.PathValue("stage"))
	if err != nil {
		return name, 0, 0, err
	}
	st, err := a.Service.stage(r.Context(), ref{org: caller.Org, run: run}, key)
	if errors.Is(err, platform.ErrNotFound) {
		return name, 0, 0, problem.New(problem.NotFound, "There is no stage %s in run %s.", key, run)
	}
	if err != nil {
		return name, 0, 0, err
	}
	name = LogName{caller.Org, run, key, max(st.Attempt, 1)}
	query := r.URL.Query()
	if text := query.Get("attempt"); text != "" {
		if name.Attempt, err = strconv.Atoi(text); err != nil || name.Attempt < 1 {
			return name, 0, 0, problem.New(problem.Invalid, "attempt is %q; attempts count from 1.", text).InField("attempt")
		}
	}
	if text := query.Get("from"); text != "" {
		if from, err = strconv.Atoi(text); err != nil || from < 0 {
			return name, 0, 0, problem.New(problem.Invalid, "from is %q; segments count from 0.", text).InField("from")
		}
	}
	if text := query.Get("wait"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 || wait > maxWait {
			return name, 0, 0, problem.New(problem.Invalid, "wait is %q; it is a time of at most %s.", text, maxWait).InField("wait")
		}
	}
	return name, from, wait, nil
}
