package pipeline

import "context"

// leaveMatrix counts a final cell down at its join, cancels its siblings where it
// failed under fail-fast.
func (s *Service) leaveMatrix(ctx context.Context, r ref, node int, st Stage) error {
	join := r.graph.joins[node]
	if join < 0 {
		return nil
	}
	spec := r.graph.spec(node)
	if spec.Matrix != nil && spec.Matrix.FailFast && st.Status.broke() {
		for _, sibling := range r.graph.cells[spec.Name] {
			if sibling != node {
				if err := s.cancelStage(ctx, r, sibling, "fail-fast", false); err != nil {
					return err
				}
			}
		}
	}
	if err := s.countDown(ctx, r, node, []int{join}); err != nil {
		return err
	}
	return s.advance(ctx, r, join)
}
