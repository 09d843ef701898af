package asl

// pass hands its input, or a fixed result, on.
//
// Source: the specification, "Pass State".
type pass struct {
	result    any
	hasResult bool
}

func readPass(_ *parser, o map[string]any, _ *state) work {
	result, ok := o["Result"]
	return &pass{result, ok}
}

func (p *pass) begin(r *Run, t *Thread, s *state) {
	if p.hasResult { // nothing is asked of the input: InputPath and Parameters are not looked at
		r.inspect(s, "result", p.result)
		r.succeed(t, s, p.result, nil)
		return
	}
	result, err := r.arguments(t, s)
	if err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	r.succeed(t, s, result, nil)
}
