package pipeline

import (
	"sync"

	"github.com/buildit-dev/buildit/internal/platform"
)

// hints remember which places of a quota are taken, as this process last saw it: so
// that a stage of an organization with room to spare reads nothing before it starts.
// They may be wrong; the transaction that takes a place decides.
type hints struct {
	mu     sync.Mutex
	groups map[string]*hinted
}

type hinted struct {
	taken   map[int]bool
	waiting bool // somebody waits: who comes new waits too
}

const hintsKept = 1000 // groups

func (h *hints) of(org platform.Org, c claim) *hinted {
	name := org.ID() + "/" + c.scope + "/" + c.name
	if h.groups == nil || len(h.groups) > hintsKept {
		h.groups = make(map[string]*hinted)
	}
	if h.groups[name] == nil {
		h.groups[name] = &hinted{taken: make(map[int]bool)}
	}
	return h.groups[name]
}

// free is a place that is probably free, -1 if none is known.
func (h *hints) free(org platform.Org, c claim) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.of(org, c)
	if known.waiting || len(known.taken) >= c.limit {
		return -1
	}
	for i, first := 0, randomSlot(c.limit); i < c.limit; i++ {
		if slot := (first + i) % c.limit; !known.taken[slot] {
			return slot
		}
	}
	return -1
}

func (h *hints) mark(org platform.Org, p place, taken bool) {
	if p.kind != waitQuota {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.of(org, p.claim)
	if taken {
		known.taken[p.slot] = true
		return
	}
	delete(known.taken, p.slot)
}

// set keeps what was read of a group.
func (h *hints) set(org platform.Org, c claim, g crowd) {
	if c.kind != waitQuota {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.of(org, c)
	known.waiting = len(g.waiting) > 0
	known.taken = make(map[int]bool, len(g.held))
	for slot := range g.held {
		known.taken[slot] = true
	}
}
