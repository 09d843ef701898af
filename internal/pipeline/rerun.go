package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// What of a run is run again.
const (
	RerunAll    = "all"
	RerunFailed = "failed" // what is neither succeeded, allowed nor skipped by its condition
	RerunStage  = "stage"  // one stage
)

// RerunRequest asks for another attempt of a run. Whatever runs again takes with it
// all that waits for it.
type RerunRequest struct {
	What    string `json:"what,omitempty"`  // all (if absent), failed or stage
	Stage   string `json:"stage,omitempty"` // name, cell or key, where What is stage
	NoCache bool   `json:"no_cache,omitempty"`
}

// check refuses what cannot be meant.
func (in *RerunRequest) check() error {
	switch {
	case in.What == "" && in.Stage != "":
		in.What = RerunStage
	case in.What == "":
		in.What = RerunAll
	}
	switch {
	case in.What != RerunAll && in.What != RerunFailed && in.What != RerunStage:
		return problem.New(problem.Invalid, "%q is not what can be run again: all, failed or stage.", in.What).InField("what")
	case in.What == RerunStage && in.Stage == "":
		return problem.New(problem.Invalid, "Name the stage that is to run again.").InField("stage")
	case in.What != RerunStage && in.Stage != "":
		return problem.New(problem.Invalid, "A stage is named where what is %q; leave one of them out.", in.What).InField("what")
	}
	return nil
}

func (in RerunRequest) why(actor string) string {
	what := map[string]string{
		RerunAll: "run again", RerunFailed: "what failed is run again", RerunStage: fmt.Sprintf("stage %q is run again", in.Stage),
	}[in.What]
	if in.NoCache {
		what += ", without caches"
	}
	return what + " by " + actor
}

// Rerun makes the next attempt of a run that has ended: a run of its own, with the
// same number, commit, file and parameters, whose rights are those of actor. What
// does not run again is carried over. request names the operation: asking again
// under it finds the same run, and any other finds that the run was rerun.
func (s *Service) Rerun(ctx context.Context, org platform.Org, id RunID, in RerunRequest, request, actor string) (Run, error) {
	if err := in.check(); err != nil {
		return Run{}, err
	}
	r, run, err := s.openRun(ctx, org, id)
	if err != nil {
		return Run{}, asNotFound(err, id)
	}
	if err := s.mayRerun(r, run); err != nil {
		return Run{}, err
	}
	t := r.graph.Trigger
	t.Attempt, t.Actor, t.NoCache, t.Why = run.Attempt+1, actor, in.NoCache, in.why(actor)
	if made, err := s.run(ctx, org, NewRunID(t)); !errors.Is(err, platform.ErrNotFound) {
		return s.rerunAlready(ctx, org, made, request, err)
	}
	before, err := s.past(ctx, r)
	if err != nil {
		return Run{}, err
	}
	again, err := r.graph.choose(in, before)
	if err != nil {
		return Run{}, err
	}
	if err := s.addMakers(ctx, r, before, again); err != nil {
		return Run{}, err
	}
	g, err := r.graph.rerun(t, again)
	if err != nil {
		return Run{}, err
	}
	return s.createRerun(ctx, org, run, g, request)
}

// mayRerun refuses a run that cannot be run again.
func (s *Service) mayRerun(r ref, run Run) error {
	switch {
	case !run.Status.Final():
		return problem.New(problem.Conflict, "The run is %s. It can be run again when it has ended; `buildit cancel` ends it.", run.Status)
	case r.graph == nil:
		return problem.New(problem.Conflict, "The run is %s and never had stages: there is nothing to run again.", run.Status)
	case r.graph.Trigger.Trust != "trusted" && !s.AllowUntrusted:
		return problem.New(problem.Forbidden, "The run is of a stranger's commit, which may not run here: %s.", notIsolated)
	}
	return nil
}

// rerunAlready answers a rerun whose run is there: the same request gets it, and
// completes it; another is told of it.
func (s *Service) rerunAlready(ctx context.Context, org platform.Org, made Run, request string, err error) (Run, error) {
	if err != nil {
		return Run{}, err
	}
	if request == "" || made.request != request {
		return Run{}, problem.New(problem.Conflict, "It was run again already: run %s is attempt %d of it. Run that one again.", made.ID, made.Attempt)
	}
	r, run, err := s.openRun(ctx, org, made.ID)
	if err != nil || run.Status != Created {
		return run, err
	}
	return s.launch(ctx, r, run)
}

// createRerun puts the run's row, which names its graph, with the outbox row that
// lets it go: what is created here begins, whatever happens to this process.
func (s *Service) createRerun(ctx context.Context, org platform.Org, before Run, g *Graph, request string) (Run, error) {
	digest, err := s.storeGraph(ctx, org, g)
	if err != nil {
		return Run{}, err
	}
	now := s.home.Clock.Now()
	run := before
	run.ID, run.Attempt, run.RerunOf, run.request = g.Run, g.Trigger.Attempt, before.ID, request
	run.Actor, run.Why, run.Created, run.Status, run.version = g.Trigger.Actor, g.Trigger.Why, now, Created, 1
	r := ref{org, run.ID, digest, g}
	item := run.item().
		InList(listOfRuns(org).Index(string(platform.Stamp(now)), string(run.ID))).
		DueAt(dueKey(run.ID, now.Add(rules[Created].deadline)))
	item["org"], item["graph"], item["pipeline"] = platform.Text(org.ID()), platform.Text(digest), platform.Text(g.Name)
	item["rerun_of"], item["request"] = platform.Text(before.ID), platform.Text(request)
	follows, put := s.boxPut(r, boxLaunch, Stage{Key: "run", Attempt: run.Attempt, version: 1}, 0)
	err = s.transact(ctx,
		platform.Put{Key: runRow(org, run.ID), Item: item, If: platform.NoRow},
		platform.Put{Key: eventRow(org, run.ID, "run", 1), Item: platform.Item{
			"entity": platform.Text("run"), "status": platform.Text(Created), "why": platform.Text(run.Why),
			"version": platform.Int(1), "at": platform.Stamp(now),
		}}, put)
	if lost(err) {
		made, err := s.run(ctx, org, run.ID)
		return s.rerunAlready(ctx, org, made, request, err)
	}
	if err != nil {
		return Run{}, err
	}
	if err := s.carryOut(ctx, r, []box{follows}); err != nil {
		s.Log.ErrorContext(ctx, "rerun is late", "org", org.ID(), "run", run.ID, "err", err) // the outbox repeats it
	}
	return s.run(ctx, org, run.ID)
}

// launchLater is launch as the outbox repeats it.
func (s *Service) launchLater(ctx context.Context, r ref) error {
	run, err := s.run(ctx, r.org, r.run)
	if err != nil || run.Status != Created {
		return err
	}
	_, err = s.launch(ctx, r, run)
	return err
}

func (s *Service) postRerun(r *http.Request, caller access.Caller) (any, error) {
	id, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	in, err := access.Decode[RerunRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Rerun(r.Context(), caller.Org, id, in, access.OperationID(r.Context()), caller.Name)
}
