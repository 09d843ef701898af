package pipeline

import (
	"context"
	"net/http"
	"slices"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Routes are the part of the API that shows runs and stops them. Supervisors have
// theirs (Runner), and who starts runs by hand is repository.
func (s *Service) Routes() []access.Route {
	run := access.InPath("run")
	const runs = "/api/v1/orgs/{org}/runs"
	return slices.Concat(s.insightRoutes(), s.reportRoutes(run), s.cacheRoutes(), []access.Route{
		{
			Pattern: "GET " + runs, Action: access.RunRead, Resource: access.OfOrg(),
			Summary: "List runs, newest first", Out: access.Page[Run]{}, Handle: s.getRuns,
			Query: access.WindowQuery(map[string]string{
				"repository": "Only runs of this repository, by id.", "branch": "Only runs of this branch.",
				"commit": "Only runs of this commit, whole.", "status": "Only runs of this status.",
			}),
		},
		{
			Pattern: "GET " + runs + "/{run}", Action: access.RunRead, Resource: run,
			Summary: "Show a run with its stages and artifacts", Out: View{}, Handle: s.getRun,
		},
		{
			Pattern: "POST " + runs + "/{run}/cancel", Action: access.RunCancel, Resource: run,
			Summary: "Stop a run and all that it has started", In: CancelRequest{}, Out: Run{}, Handle: s.postCancel,
		},
		{
			Pattern: "POST " + runs + "/{run}/force-cancel", Action: access.RunForceCancel, Resource: run,
			Summary: "Stop a run at once, even a deployment that is under way", In: CancelRequest{}, Out: Run{}, Handle: s.postForceCancel,
		},
		{
			Pattern: "POST " + runs + "/{run}/rerun", Action: access.RunRerun, Resource: run,
			Summary: "Run a run again that has ended: all of it, what failed, or one stage", In: RerunRequest{}, Out: Run{},
			Status: http.StatusCreated, Handle: s.postRerun,
		},
		{
			Pattern: "GET " + runs + "/{run}/events", Action: access.RunRead, Resource: run,
			Summary: "List what happened to a run and its stages", Out: access.Page[Event]{}, Query: access.WindowQuery(nil), Handle: s.getEvents,
		},
		{
			Pattern: "GET " + runs + "/{run}/artifacts", Action: access.ArtifactRead, Resource: run,
			Summary: "List what a run left behind", Out: access.Page[Artifact]{}, Handle: s.getArtifacts,
		},
		{
			Pattern: "GET " + runs + "/{run}/artifacts/{name}", Action: access.ArtifactDownload, Resource: run,
			Summary: "Download an artifact: its manifest, and a signed request for each of its files", Out: Download{}, Handle: s.getArtifact,
			Query: map[string]string{"stage": "Key of the stage that made it, where several did."},
		},
		{
			Pattern: "GET " + runs + "/{run}/stages/{stage}/log", Action: access.LogRead, Resource: run,
			Summary: "The log of a stage, from a line on: as it is, as JSON lines, or what is known of it; or, with from, its segments", Handle: s.getLog,
			Query: map[string]string{
				"attempt": "Of the stage; the last if absent.",
				"line":    "The first line, from 1.", "lines": "How many lines; all if absent.",
				"format": "raw (if absent), jsonl (an object for each line: number, time, command, text) or index (totals, commands with their lines, lines that look like errors).",
				"from":   "The segment to begin with: answers a page of segments.", "offset": "Beside from: the first byte that is wanted.",
				"wait": "Beside from: how long to wait for a segment, such as 20s; 20s at most.",
			},
		},
		{
			Pattern: "GET " + runs + "/{run}/stages/{stage}/log/search", Action: access.LogRead, Resource: run,
			Summary: "Find lines in the log of a stage, as people read them: colours inside them are looked through", Out: LogMatches{}, Handle: s.getLogSearch,
			Query: map[string]string{
				"q": "What to look for: 1 KiB at most.", "regexp": "true: q is a regular expression (RE2).", "ignore_case": "true: upper and lower case are the same.",
				"attempt": "Of the stage; the last if absent.", "line": "The line to begin with, from 1: next of the answer before.",
				"limit": "How many lines to answer: 100 if absent, 1000 at most.",
			},
		},
	})
}

// GateRoutes are the part of the API by which people open gates, and say how much
// of an organization goes on at once.
func (s *Service) GateRoutes() []access.Route {
	run := access.InPath("run")
	const one, quota = "/api/v1/orgs/{org}/runs/{run}", "/api/v1/orgs/{org}/quota"
	return []access.Route{
		{
			Pattern: "POST " + one + "/approve", Action: access.RunApprove, Resource: run,
			Summary: "Let a run go on that is held as a whole", In: Decision{}, Out: Run{}, Handle: decideRun(s.ApproveRun),
		},
		{
			Pattern: "POST " + one + "/reject", Action: access.RunApprove, Resource: run,
			Summary: "Cancel a run that is held as a whole", In: Decision{}, Out: Run{}, Handle: decideRun(s.RejectRun),
		},
		{
			Pattern: "POST " + one + "/stages/{stage}/approve", Action: access.GateApprove, Resource: run,
			Summary: "Agree that a stage starts, named by its key or its name", In: Decision{}, Out: Stage{}, Handle: decide(s.Approve),
		},
		{
			Pattern: "POST " + one + "/stages/{stage}/reject", Action: access.GateApprove, Resource: run,
			Summary: "Have a stage fail, or be skipped, that waits for approval", In: Decision{}, Out: Stage{}, Handle: decide(s.Reject),
		},
		{
			Pattern: "GET " + quota, Action: access.QuotaRead, Resource: access.OfOrg(),
			Summary: "Show how many runs and stages may go on at once", Out: Quota{}, Handle: s.getQuota,
		},
		{
			Pattern: "PUT " + quota, Action: access.QuotaWrite, Resource: access.OfOrg(),
			Summary: "Say how many runs and stages may go on at once; 0 is no limit", In: QuotaRequest{}, Out: Quota{}, Handle: s.putQuota,
		},
	}
}

func decideRun(do func(context.Context, access.Caller, RunID, Decision) (Run, error)) func(*http.Request, access.Caller) (any, error) {
	return func(r *http.Request, caller access.Caller) (any, error) {
		id, err := ParseRunID(r.PathValue("run"))
		if err != nil {
			return nil, err
		}
		in, err := access.Decode[Decision](r)
		if err != nil {
			return nil, err
		}
		return do(r.Context(), caller, id, in)
	}
}

func decide(do func(context.Context, access.Caller, RunID, string, Decision) (Stage, error)) func(*http.Request, access.Caller) (any, error) {
	return func(r *http.Request, caller access.Caller) (any, error) {
		id, err := ParseRunID(r.PathValue("run"))
		if err != nil {
			return nil, err
		}
		in, err := access.Decode[Decision](r)
		if err != nil {
			return nil, err
		}
		return do(r.Context(), caller, id, r.PathValue("stage"), in)
	}
}

func (s *Service) getQuota(r *http.Request, caller access.Caller) (any, error) {
	return s.GetQuota(r.Context(), caller.Org)
}

func (s *Service) putQuota(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[QuotaRequest](r)
	if err != nil {
		return nil, err
	}
	if in.Runs == nil && in.Stages == nil {
		return nil, problem.New(problem.Invalid, "Say how many stages, or runs, may go on at once; 0 is no limit.").InField("stages")
	}
	q, err := s.GetQuota(r.Context(), caller.Org)
	if err != nil {
		return nil, err
	}
	if in.Runs != nil {
		q.Runs = *in.Runs
	}
	if in.Stages != nil {
		q.Stages = *in.Stages
	}
	return s.SetQuota(r.Context(), caller.Org, q)
}

// QuotaRequest changes what it names of a quota.
type QuotaRequest struct {
	Runs   *int `json:"runs,omitempty"`
	Stages *int `json:"stages,omitempty"`
}

// CancelRequest says why a run is canceled.
type CancelRequest struct {
	Reason string `json:"reason,omitempty"` // for people
}

const maxCancelReason = 500 // bytes

func (s *Service) getRuns(r *http.Request, caller access.Caller) (any, error) {
	window, err := access.ParseWindow(r)
	if err != nil {
		return nil, err
	}
	query := r.URL.Query()
	which := Selection{
		Repository: query.Get("repository"), Branch: query.Get("branch"), Commit: query.Get("commit"), Status: Status(query.Get("status")),
	}
	if _, known := rules[which.Status]; which.Status != "" && !known {
		return nil, problem.New(problem.Invalid, "%q is no status of a run; they are %s.", which.Status, statusNames()).InField("status")
	}
	list, next, err := s.List(r.Context(), caller.Org, which, window.Limit, window.Cursor)
	return access.NewPage(list, next), window.Error(err)
}

func (s *Service) getRun(r *http.Request, caller access.Caller) (any, error) {
	id, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	return s.View(r.Context(), caller.Org, id)
}

func (s *Service) postCancel(r *http.Request, caller access.Caller) (any, error) {
	return s.cancelBy(r, caller, s.Cancel)
}

func (s *Service) postForceCancel(r *http.Request, caller access.Caller) (any, error) {
	return s.cancelBy(r, caller, s.ForceCancel)
}

func (s *Service) cancelBy(r *http.Request, caller access.Caller, cancel func(context.Context, platform.Org, RunID, string, string) (Run, error)) (any, error) {
	id, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	in, err := access.Decode[CancelRequest](r)
	if err != nil {
		return nil, err
	}
	if len(in.Reason) > maxCancelReason {
		return nil, problem.New(problem.Invalid, "A reason has at most %d bytes.", maxCancelReason).InField("reason")
	}
	why := "canceled by " + caller.Name
	if in.Reason != "" {
		why += ": " + in.Reason
	}
	return cancel(r.Context(), caller.Org, id, "user", why)
}

func (s *Service) getEvents(r *http.Request, caller access.Caller) (any, error) {
	id, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	window, err := access.ParseWindow(r)
	if err != nil {
		return nil, err
	}
	list, next, err := s.Events(r.Context(), caller.Org, id, window.Limit, window.Cursor)
	return access.NewPage(list, next), window.Error(err)
}

func (s *Service) getArtifacts(r *http.Request, caller access.Caller) (any, error) {
	id, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	view, err := s.View(r.Context(), caller.Org, id)
	return access.NewPage(view.Artifacts, ""), err
}

func (s *Service) getArtifact(r *http.Request, caller access.Caller) (any, error) {
	id, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	return s.Download(r.Context(), caller.Org, id, r.PathValue("name"), StageKey(r.URL.Query().Get("stage")))
}
