package pipeline

import (
	"context"
	"fmt"

	"github.com/buildit-dev/buildit/internal/environment"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
)

// whyReleased is what a stage that deploys says which has no commands of its own.
const whyReleased = "no application is linked: the release is recorded"

// deploy carries out a stage that deploys and has no commands: it pins the artifacts
// and records the release.
func (s *Service) deploy(ctx context.Context, r ref, key StageKey) error {
	node, err := r.graph.node(key)
	if err != nil {
		return err
	}
	st, err := s.stage(ctx, r, key)
	if err != nil || st.Status != StageRunning {
		return err
	}
	if err := s.recordRelease(ctx, r, node, st); err != nil {
		return err
	}
	err = s.step(ctx, r, st, StageSucceeded, change{reason: "ok", why: whyReleased, follow: []string{boxSettle}})
	if lost(err) {
		return nil
	}
	return err
}

// recordRelease writes what a stage has deployed, once.
func (s *Service) recordRelease(ctx context.Context, r ref, node int, st Stage) error {
	above, err := s.above(ctx, r, node)
	if err != nil {
		return err
	}
	spec, t, facts := r.graph.spec(node), r.graph.Trigger, r.graph.finalFacts(node, above)
	name, err := language.Expand(spec.Environment.NameT, facts)
	if err != nil {
		return fmt.Errorf("environment of stage %s: %w", st.Name, err)
	}
	url, err := language.Expand(spec.Environment.URLT, facts)
	if err != nil {
		url = "" // what it names has no value: the release is no less one
	}
	release := environment.Release{
		Run: string(r.run), RunNumber: r.graph.Number, Stage: st.Name, Repository: t.Repository, File: t.File,
		Commit: t.Commit, Branch: t.Branch, Tag: t.Tag, Actor: t.Actor, URL: url, At: s.home.Clock.Now().UTC(),
	}
	made, err := s.Artifacts(ctx, r.org, r.run)
	if err != nil {
		return err
	}
	for _, a := range made[:min(len(made), environment.MaxPins)] {
		release.Artifacts = append(release.Artifacts, environment.Pin{Name: a.Name, Stage: a.Stage, Digest: a.SHA256, Value: a.Value})
	}
	return s.Environments.Record(ctx, r.org, name, string(st.Key), release)
}

// deployUnderWay tells whether a stage is deploying now: a cancel waits for it.
func deployUnderWay(spec *language.Stage, st Stage) bool {
	if !deploys(spec) {
		return false
	}
	switch st.Status {
	case StageRunning, StageFinishing, StageReported:
		return true
	}
	return false
}
