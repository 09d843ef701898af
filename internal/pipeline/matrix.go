package pipeline

import (
	"context"
	"fmt"

	"github.com/buildit-dev/buildit/internal/platform"
)

// max-parallel is a gate of slots: a cell that is ready takes a free one in the
// transaction that queues it, or is gated. A cell that has ended frees its slot and
// then looks for gated cells, in file order. A cell that is gated looks for a slot
// once more: it finds the one that was freed meanwhile, or is found itself.

const reasonMaxParallel = "max-parallel"

// enterMatrix queues a cell if a slot is free, and gates it if not.
func (s *Service) enterMatrix(ctx context.Context, r ref, node int, row Stage) error {
	took, err := s.takeSlot(ctx, r, node, row)
	if took || err != nil {
		return err
	}
	limit := r.graph.spec(node).Matrix.MaxParallel
	row, _, err = s.move(ctx, r, row, StageGated, change{
		reason: reasonMaxParallel, why: fmt.Sprintf("%d cells of %q run already", limit, r.graph.spec(node).Name),
	})
	if err != nil {
		return err
	}
	_, err = s.takeSlot(ctx, r, node, row)
	return err
}

// takeSlot queues a cell with the first free slot, if there is one.
func (s *Service) takeSlot(ctx context.Context, r ref, node int, row Stage) (bool, error) {
	join := s.slotOwner(r, node)
	for slot := range r.graph.spec(node).Matrix.MaxParallel {
		key := slotRow(r.org, r.run, join, slot)
		err := s.queue(ctx, r, row, 1, []platform.Action{
			platform.Put{Key: key, Item: platform.Item{"cell": platform.Text(row.Key)}, If: platform.NoRow},
		})
		if !lost(err) {
			return err == nil, err
		}
		if !slotTaken(err) {
			return false, err // the cell itself has moved on
		}
	}
	return false, nil
}

// slotTaken tells that the last action of a refused queue, the slot's, was at fault.
func slotTaken(err error) bool {
	return platform.FailedAt(err, slotAction) && !platform.FailedAt(err, 0)
}

// slotAction is where queue puts the slot: after row, event and attempt.
const slotAction = 3

func (s *Service) slotOwner(r ref, node int) StageKey {
	if join := r.graph.joins[node]; join >= 0 {
		return r.graph.Nodes[join].Key
	}
	return r.graph.Nodes[node].Key
}

// leaveMatrix counts a final cell down at its join, cancels its siblings where it
// failed under fail-fast, and hands on its slot.
func (s *Service) leaveMatrix(ctx context.Context, r ref, node int, st Stage) error {
	join := r.graph.joins[node]
	if join < 0 {
		return nil
	}
	spec := r.graph.spec(node)
	if spec.Matrix != nil && spec.Matrix.FailFast && st.Status.broke() {
		for _, sibling := range r.graph.cells[spec.Name] {
			if sibling != node {
				if err := s.cancelStage(ctx, r, sibling, "fail-fast"); err != nil {
					return err
				}
			}
		}
	}
	if spec.Matrix != nil && spec.Matrix.MaxParallel > 0 {
		if err := s.leaveSlot(ctx, r, node); err != nil {
			return err
		}
	}
	if err := s.countDown(ctx, r, node, []int{join}); err != nil {
		return err
	}
	return s.advance(ctx, r, join)
}

// leaveSlot gives back the slot that a final cell holds, and lets gated cells in.
func (s *Service) leaveSlot(ctx context.Context, r ref, node int) error {
	owner, key := s.slotOwner(r, node), r.graph.Nodes[node].Key
	for slot := range r.graph.spec(node).Matrix.MaxParallel {
		_, err := s.home.Table.Write(ctx, platform.Delete{
			Key: slotRow(r.org, r.run, owner, slot),
			If:  platform.Equal{Attribute: "cell", Value: platform.Text(key)},
		})
		if err != nil && !lost(err) {
			return fmt.Errorf("run %s: free the slot of %s: %w", r.run, key, err)
		}
	}
	cells := r.graph.cells[r.graph.spec(node).Name]
	rows, err := s.stages(ctx, r, cells)
	if err != nil {
		return err
	}
	for _, cell := range cells {
		if rows[cell].Status != StageGated {
			continue
		}
		took, err := s.takeSlot(ctx, r, cell, rows[cell])
		if err != nil && !lost(err) {
			return err
		}
		if !took && err == nil {
			return nil // every slot is taken again
		}
	}
	return nil
}
