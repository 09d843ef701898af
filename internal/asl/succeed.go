package asl

// succeed ends its branch well.
//
// Source: the specification, "Succeed State".
type succeed struct{}

func readSucceed(*parser, map[string]any, *state) work { return succeed{} }

func (succeed) begin(r *Run, t *Thread, s *state) {
	in, err := r.input(t, s)
	if err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	r.succeed(t, s, in, nil)
}
