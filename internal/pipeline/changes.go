package pipeline

import (
	"context"

	"github.com/buildit-dev/buildit/internal/platform"
)

// RunChanged is the run after a change of its row, if the change is one of a run's
// status.
func RunChanged(c platform.Change) (Run, bool) {
	parents, parts := c.Key.Parents(), c.Key.Parts()
	if c.New == nil || len(parents) != 3 || parents[1] != "run" || len(parts) != 1 || parts[0] != "run" || same(c, "status") {
		return Run{}, false
	}
	run, err := runOf(c.New)
	return run, err == nil
}

// StageChanged is the stage after a change of its row, and its run, if the change is
// one of the status or the attempt of a stage or of a cell.
func StageChanged(c platform.Change) (RunID, Stage, bool) {
	parents, parts := c.Key.Parents(), c.Key.Parts()
	if c.New == nil || len(parents) != 3 || parents[1] != "run" || len(parts) != 2 || parts[0] != "stage" || same(c, "status") && same(c, "attempt") {
		return "", Stage{}, false
	}
	st := stageOf(c.New)
	return RunID(parents[2]), st, st.kind == Cell
}

func same(c platform.Change, name string) bool {
	return c.Old != nil && c.Old[name] == c.New[name]
}

// Version grows with each change of the run's row, and orders what is told of it.
func (r Run) Version() int64 { return r.version }

// Version grows with each change of the stage's row.
func (s Stage) Version() int64 { return s.version }

// Find reads the row of a run.
func (s *Service) Find(ctx context.Context, org platform.Org, id RunID) (Run, error) {
	return s.run(ctx, org, id)
}

// AddNotice has people see a notice on a run, one of each code.
func (s *Service) AddNotice(ctx context.Context, org platform.Org, id RunID, n Notice) error {
	_, err := s.home.Table.Write(ctx, platform.Put{
		Key:  runPartition(org, id).Row("notice", n.Code),
		Item: platform.Item{"code": platform.Text(n.Code), "text": platform.Text(n.Text)},
	})
	return err
}

// runNotices are the notices of a run.
func (s *Service) runNotices(ctx context.Context, org platform.Org, id RunID) ([]Notice, error) {
	rows, err := s.rows(ctx, org, id, "notice")
	if err != nil {
		return nil, err
	}
	var list []Notice
	for _, row := range rows {
		list = append(list, Notice{row.Item.Text("code"), row.Item.Text("text")})
	}
	return list, nil
}
