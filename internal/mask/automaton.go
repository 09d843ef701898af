package mask

import "slices"

// Set finds needles: an Aho-Corasick automaton over bytes. It is immutable, and
// any number of filters may share it. A nil Set finds nothing.
//
// Source: A. V. Aho, M. J. Corasick, Efficient string matching, CACM 18 (1975).
type Set struct {
	nodes []node
	root  [256]int32       // where a byte leads from the root; 0 is the root
	edges map[uint64]int32 // further children of nodes that have more than one
	// pairs has the bit of each two bytes that begin a needle, the second of which
	// may be the escape of a sequence that is looked through: what has no bit
	// begins nothing, and most of a log has none.
	pairs   [1024]uint64
	longest int // bytes of the longest needle
}

// node is a beginning of a needle.
type node struct {
	fail     int32 // the longest proper end of it that begins a needle too
	next     int32 // its first child, 0 for none
	depth    int32 // bytes
	match    int32 // bytes of the longest needle that ends here, 0 for none
	shortest int32 // bytes of the shortest needle that begins so
	by       byte  // what leads to next
	many     bool  // further children are in Set.edges
}

// Compile builds the automaton that finds every value, by its needles. Values
// that Refuse refuses are left out. It answers nil if nothing is left.
func Compile(values ...string) *Set {
	var all []string
	for _, value := range values {
		all = append(all, needles(value)...)
	}
	slices.Sort(all)
	return compile(slices.Compact(all))
}

func compile(needles []string) *Set {
	if len(needles) == 0 {
		return nil
	}
	s := &Set{nodes: make([]node, 1), edges: map[uint64]int32{}}
	for _, needle := range needles {
		s.add(needle)
	}
	s.link()
	return s
}

// add grows the tree by one needle.
func (s *Set) add(needle string) {
	s.longest = max(s.longest, len(needle))
	s.pair(needle[0], needle[1])
	s.pair(needle[0], escape)
	length := int32(len(needle))
	at := int32(0)
	for i := range len(needle) {
		child := s.child(at, needle[i])
		if child == 0 {
			child = s.grow(at, needle[i])
		}
		at = child
		if n := &s.nodes[at]; n.shortest == 0 || length < n.shortest {
			n.shortest = length
		}
	}
	s.nodes[at].match = length
}

func (s *Set) pair(a, b byte) {
	i := uint(a)<<8 | uint(b)
	s.pairs[i>>6] |= 1 << (i & 63)
}

func (s *Set) begins(a, b byte) bool {
	i := uint(a)<<8 | uint(b)
	return s.pairs[i>>6]&(1<<(i&63)) != 0
}

// child is where b leads in the tree, 0 for nowhere.
func (s *Set) child(at int32, b byte) int32 {
	if at == 0 {
		return s.root[b]
	}
	n := &s.nodes[at]
	if n.by == b && n.next != 0 {
		return n.next
	}
	if !n.many {
		return 0
	}
	return s.edges[uint64(at)<<8|uint64(b)]
}

func (s *Set) grow(at int32, b byte) int32 {
	child := int32(len(s.nodes))
	s.nodes = append(s.nodes, node{depth: s.nodes[at].depth + 1})
	parent := &s.nodes[at]
	switch {
	case at == 0:
		s.root[b] = child
	case parent.next == 0:
		parent.next, parent.by = child, b
	default:
		parent.many = true
		s.edges[uint64(at)<<8|uint64(b)] = child
	}
	return child
}

// link sets fail and match of every node, parents before children.
func (s *Set) link() {
	type edge struct {
		child int32
		by    byte
	}
	children := make([][]edge, len(s.nodes))
	for at, n := range s.nodes {
		if at > 0 && n.next != 0 {
			children[at] = append(children[at], edge{n.next, n.by})
		}
	}
	for key, child := range s.edges {
		children[key>>8] = append(children[key>>8], edge{child, byte(key)})
	}
	var queue []int32
	for _, child := range s.root {
		if child != 0 {
			queue = append(queue, child)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, e := range children[at] {
			n := &s.nodes[e.child]
			n.fail = s.step(s.nodes[at].fail, e.by)
			n.match = max(n.match, s.nodes[n.fail].match)
			queue = append(queue, e.child)
		}
	}
}

// step is the longest beginning of a needle at the end of the text that led to
// at, followed by b.
func (s *Set) step(at int32, b byte) int32 {
	for at != 0 {
		if child := s.child(at, b); child != 0 {
			return child
		}
		at = s.nodes[at].fail
	}
	return s.root[b]
}

// giveaway is how many of the last bytes would give a needle away if the stream
// ended at this node: 8 bytes of one, or half of it.
func (s *Set) giveaway(at int32) int {
	for ; at != 0; at = s.nodes[at].fail {
		n := s.nodes[at]
		if n.depth >= 8 || 2*n.depth >= n.shortest {
			return int(n.depth)
		}
	}
	return 0
}
