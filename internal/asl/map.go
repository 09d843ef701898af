package asl

import (
	"math"
	"strconv"
	"strings"
)

// mapping runs its processor for each item of an array, some or all at the same
// time. Its result is the array of their outputs. A distributed one runs each
// iteration as an execution of its own, outside of this history.
//
// Source: the specification, "Map State"; Developer Guide, "Map state".
type mapping struct {
	processor   *branch
	distributed bool
	itemsPath   expression
	selector    *template // ItemSelector, or Parameters before there was one
	reader      *itemReader
	concurrency bound
	tolerated   bound
	percentage  bound
}

// bound is a number that stands in the definition or in the input.
type bound struct {
	field string
	given bool
	value float64
	path  expression
	text  string
}

func readMap(p *parser, o map[string]any, s *state) work {
	m := &mapping{selector: p.template(o, "ItemSelector", s.place)}
	m.itemsPath, _ = p.path(o, "ItemsPath", s.place)
	if m.selector == nil {
		m.selector = s.parameters
	}
	p.one(o, s.place, "ItemSelector", "Parameters")
	s.parameters = nil
	m.processor = p.processor(o, s.place, m)
	m.concurrency = p.bound(o, "MaxConcurrency", s.place, math.MaxInt32)
	m.tolerated = p.bound(o, "ToleratedFailureCount", s.place, math.MaxInt32)
	m.percentage = p.bound(o, "ToleratedFailurePercentage", s.place, 100)
	if v, ok := o["ItemReader"]; ok {
		m.reader = p.itemReader(v, s.place+"/ItemReader")
	}
	for _, field := range []string{"ItemBatcher", "ResultWriter"} {
		if _, ok := o[field]; ok {
			p.unsupported = append(p.unsupported, "Map."+field)
		}
	}
	return m
}

func (p *parser) processor(o map[string]any, place string, m *mapping) *branch {
	p.one(o, place, "ItemProcessor", "Iterator")
	field := "ItemProcessor"
	if _, ok := o["Iterator"]; ok {
		field = "Iterator"
	} else if !p.required(o, place, field) {
		return &branch{}
	}
	inner, ok := o[field].(map[string]any)
	if !ok {
		p.schema(place+"/"+field, "Expected value of type Object")
		return &branch{}
	}
	if config, ok := inner["ProcessorConfig"].(map[string]any); ok {
		m.distributed = config["Mode"] == "DISTRIBUTED"
	}
	return p.branch(inner, place+"/"+field)
}

func (p *parser) bound(o map[string]any, field, place string, most float64) bound {
	b := bound{field: field}
	p.one(o, place, field, field+"Path")
	if v, ok := o[field]; ok {
		f, err := strconv.ParseFloat(unquoted(v), 64)
		if err != nil || f < 0 || f > most || isString(v) {
			p.schema(place+"/"+field, "Expected a number from 0 to %v", most)
		}
		b.value = f
	}
	_, literal := o[field]
	_, looked := o[field+"Path"]
	b.given = literal || looked
	b.path, b.text = p.lookup(o, field+"Path", place), p.text(o, field+"Path", place)
	return b
}

// get is the bound's value for one thread. is names what it has to be.
func (b bound) get(see *sight, whole bool) (float64, error) {
	if b.path == nil {
		return b.value, nil
	}
	v, err := b.path.eval(see)
	if err != nil {
		return 0, forField(err, b.field+"Path")
	}
	f, err := strconv.ParseFloat(unquoted(v), 64)
	kind := "float"
	if whole {
		kind = "integer"
	}
	if err != nil || whole && f != math.Trunc(f) {
		return 0, saying("The %sPath field refers to value %s which is not a valid %s: %s", b.field, quotedPlain(v), kind, b.text)
	}
	if f < 0 && whole {
		return 0, saying("%s must be a non-negative integer.", b.field)
	}
	if f < 0 || !whole && f > 100 {
		return 0, saying("%s must be between 0 and 100.", b.field)
	}
	return f, nil
}

func (m *mapping) begin(r *Run, t *Thread, s *state) {
	in, err := r.input(t, s)
	if err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	items, err := m.items(r, t, in)
	if err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	limit, err := m.concurrency.get(r.sight(t, in), true)
	if err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	r.follow(t, "MapStateStarted", mapStateStarted{Length: len(items)})
	opened := &Fan{Items: items, Source: in, Limit: int(limit)}
	if err := m.bounds(r.sight(t, in), opened); err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	m.inspect(r, s, opened)
	if r.mocked(t, s, len(items), opened.Tolerate) {
		return
	}
	if m.distributed {
		r.follow(t, "MapRunStarted", mapRunStarted{MapRunARN: r.mapRun(s)})
	}
	t.Phase, t.Fan = Fanned, opened
	if m.reader != nil {
		if opened.Items, err = m.reader.read(r, r.sight(t, in)); err != nil {
			r.fail(t, s, failure{name: errorItemReader, cause: err.Error()})
			return
		}
	}
	opened.Results = make([]any, len(opened.Items))
	opened.Started = t.Last
	r.proceed(t, s, m, t.Last)
}

// inspect tells a trial what the state works with.
func (m *mapping) inspect(r *Run, s *state, f *Fan) {
	if m.itemsPath != nil {
		r.inspect(s, "afterItemsPath", f.Items)
	}
	r.inspect(s, "maxConcurrency", number(f.Limit))
	if m.tolerated.given {
		r.inspect(s, "toleratedFailureCount", number(f.Tolerate))
	}
}

// mapRun is the ARN of a run of a distributed Map.
func (r *Run) mapRun(s *state) string {
	return strings.Replace(r.Execution.Start.MachineID, ":stateMachine:", ":mapRun:", 1) +
		"/" + s.name + ":" + r.env.UUID()
}

// items is the array to go through. With an ItemReader it is read later.
func (m *mapping) items(r *Run, t *Thread, in any) ([]any, error) {
	if m.reader != nil {
		return []any{}, m.reader.check(r.sight(t, in))
	}
	source, v := "$", in
	if m.itemsPath != nil {
		var err error
		if v, err = m.itemsPath.eval(r.sight(t, in)); err != nil {
			return nil, invalidPath(err)
		}
		source = "ItemsPath"
	}
	items, ok := v.([]any)
	if !ok {
		return nil, saying("Reference path %q must point to array.", source)
	}
	return items, nil
}

func (m *mapping) bounds(see *sight, f *Fan) error {
	count, err := m.tolerated.get(see, true)
	if err != nil {
		return err
	}
	percentage, err := m.percentage.get(see, false)
	if err != nil {
		return err
	}
	if m.reader != nil {
		if err := m.reader.limit(see, f); err != nil {
			return err
		}
	}
	if m.distributed {
		f.Tolerate = max(int(count), int(percentage*float64(len(f.Items))/100))
	}
	return nil
}

// more begins the next iterations, as many as may be open. It answers whether the
// state is still open.
func (m *mapping) more(r *Run, t *Thread, s *state, last int64) bool {
	f := t.Fan
	for f.Next < len(f.Items) && (f.Limit == 0 || len(f.Open) < f.Limit) {
		index := f.Next
		f.Next++
		input, err := m.iterationInput(r, t, index)
		if err != nil {
			r.fail(t, s, t.problem(s, err))
			return false
		}
		child := r.open(t, m, index, input, f.Items[index], last)
		r.follow(child, "MapIterationStarted", mapIteration{s.name, index, "Started"})
		if r.Ended() {
			return false
		}
	}
	return true
}

func (m *mapping) iterationInput(r *Run, t *Thread, index int) (any, error) {
	item := t.Fan.Items[index]
	if m.selector == nil {
		return item, nil
	}
	see := r.sight(t, t.Fan.Source)
	see.context = func() map[string]any {
		context := r.contextOf(t)
		context["Map"] = mapContext(index, item)
		return context
	}
	return m.selector.eval(see)
}

func (m *mapping) scope(int) *branch { return m.processor }
func (m *mapping) separate() bool    { return m.distributed }

func (m *mapping) branchEnded(r *Run, parent, child *Thread) {
	ended := r.aside(child, "MapIterationSucceeded", mapIteration{parent.State, child.Index, "Succeeded"})
	if !m.distributed {
		parent.Last = ended
	}
}

func (*mapping) branchFailed(r *Run, parent, child *Thread) {
	r.aside(child, "MapIterationFailed", mapIteration{parent.State, child.Index, "Failed"})
}

func (m *mapping) ended(r *Run, t *Thread) {
	if !m.distributed {
		r.aside(t, "MapStateSucceeded", nil)
		return
	}
	last := r.aside(t, "MapRunSucceeded", nil)
	if !t.silent {
		r.record(last, "MapStateSucceeded", nil)
	}
}

func (m *mapping) failed(r *Run, t *Thread, f failure) {
	if m.distributed {
		r.follow(t, "MapRunFailed", mapRunFailed{failed{f.name, f.cause}})
	}
	r.follow(t, "MapStateFailed", nil)
}

// thresholdExceeded is the failure of a distributed Map, whatever it was that
// failed in its iterations.
var thresholdExceeded = failure{name: errorThreshold, cause: "The specified tolerated failure threshold was exceeded"}
