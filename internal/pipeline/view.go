package pipeline

import (
	"cmp"
	"context"
	"slices"

	"github.com/buildit-dev/buildit/internal/platform"
)

// View is a run as people see it: with its stages in the order of the file, and
// what they left behind.
type View struct {
	Run
	Stages    []Stage    `json:"stages"`
	Artifacts []Artifact `json:"artifacts"`
}

// View reads a run.
func (s *Service) View(ctx context.Context, org platform.Org, id RunID) (View, error) {
	r, run, err := s.openRun(ctx, org, id)
	if err != nil {
		return View{}, asNotFound(err, id)
	}
	view := View{Run: run, Stages: []Stage{}, Artifacts: []Artifact{}}
	rows, err := s.rows(ctx, org, id, "stage")
	if err != nil {
		return View{}, err
	}
	if err := s.addWaits(ctx, org, &view.Run); err != nil {
		return View{}, err
	}
	groups := look{}
	for _, row := range rows {
		st := stageOf(row.Item)
		if st.kind != Cell {
			continue
		}
		if r.graph != nil {
			if err := s.addGate(ctx, r, r.graph.byKey[st.Key], &st, groups); err != nil {
				return View{}, err
			}
		}
		view.Stages = append(view.Stages, st)
	}
	if r.graph != nil {
		slices.SortFunc(view.Stages, func(a, b Stage) int {
			return cmp.Compare(r.graph.byKey[a.Key], r.graph.byKey[b.Key])
		})
	}
	view.Artifacts, err = s.Artifacts(ctx, org, id)
	return view, err
}

// Artifacts are what the stages of a run have left behind, by name.
func (s *Service) Artifacts(ctx context.Context, org platform.Org, id RunID) ([]Artifact, error) {
	rows, err := s.rows(ctx, org, id, "artifact")
	if err != nil {
		return nil, err
	}
	list := make([]Artifact, 0, len(rows))
	for _, row := range rows {
		list = append(list, artifactOf(row.Item))
	}
	return list, nil
}
