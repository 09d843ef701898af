package asl

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// retrier says after which errors a state is tried again, how often and when.
//
// Source: the specification, "Retrying after error".
type retrier struct {
	errors   []string
	interval time.Duration
	attempts int
	backoff  float64
	most     time.Duration // MaxDelaySeconds; 0 is no limit
	jitter   bool          // FULL: anything up to the delay
}

// catcher says which state comes after an error, and what it is told.
//
// Source: the specification, "Fallback states".
type catcher struct {
	errors     []string
	next       string
	resultPath reference
	noResult   bool
	assign     *template
}

// Bounds of a retrier (the specification; Developer Guide).
const (
	defaultInterval = time.Second
	defaultAttempts = 3
	defaultBackoff  = 2.0
	maxDelaySeconds = 31622400
)

// delay is how long to wait before try n, the first being 1.
func (r retrier) delay(n int, random func() float64) time.Duration {
	d := float64(r.interval) * math.Pow(r.backoff, float64(n-1))
	if r.most > 0 {
		d = min(d, float64(r.most))
	}
	if r.jitter {
		d *= random()
	}
	return time.Duration(min(d, float64(maxDelaySeconds*time.Second)))
}

func (p *parser) list(o map[string]any, field, place string) []map[string]any {
	v, ok := o[field]
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		p.schema(place+"/"+field, "Expected value of type Array")
		return nil
	}
	var objects []map[string]any
	for i, e := range list {
		object, ok := e.(map[string]any)
		if !ok {
			p.schema(fmt.Sprintf("%s/%s[%d]", place, field, i), "Expected value of type Object")
			continue
		}
		objects = append(objects, object)
	}
	return objects
}

func (p *parser) errorNames(o map[string]any, place string, isLast bool) []string {
	if !p.required(o, place, "ErrorEquals") {
		return nil
	}
	list, _ := o["ErrorEquals"].([]any)
	var all []string
	for _, e := range list {
		if name, ok := e.(string); ok {
			all = append(all, name)
		}
	}
	switch {
	case len(list) == 0 || len(all) != len(list):
		p.schema(place+"/ErrorEquals", "Expected a list of at least one STRING")
	case slices.Contains(all, errorAll) && (len(all) > 1 || !isLast):
		p.schema(place+"/ErrorEquals", "%s must appear alone, in the last one", errorAll)
	}
	return all
}

func (p *parser) retriers(o map[string]any, place string) []retrier {
	list := p.list(o, "Retry", place)
	var all []retrier
	for i, e := range list {
		at := fmt.Sprintf("%s/Retry[%d]", place, i)
		p.known(e, at, []string{
			"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy", "Comment",
		})
		r := retrier{errors: p.errorNames(e, at, i == len(list)-1), interval: defaultInterval, attempts: defaultAttempts, backoff: defaultBackoff}
		if n, ok := p.whole(e, "IntervalSeconds", at); ok {
			r.interval = time.Duration(n) * time.Second
			if n == 0 {
				p.schema(at+"/IntervalSeconds", "Expected a positive Integer")
			}
		}
		if n, ok := p.whole(e, "MaxAttempts", at); ok {
			r.attempts = int(n)
		}
		if n, ok := p.whole(e, "MaxDelaySeconds", at); ok {
			r.most = time.Duration(n) * time.Second
			if r.most <= r.interval || n > maxDelaySeconds {
				p.schema(at+"/MaxDelaySeconds", "Must be above IntervalSeconds and at most %d", maxDelaySeconds)
			}
		}
		r.backoff = p.backoff(e, at)
		switch e["JitterStrategy"] {
		case nil, "NONE":
		case "FULL":
			r.jitter = true
		default:
			p.schema(at+"/JitterStrategy", "Value is not valid. Acceptable values are [NONE, FULL]")
		}
		all = append(all, r)
	}
	return all
}

func (p *parser) backoff(o map[string]any, place string) float64 {
	v, ok := o["BackoffRate"]
	if !ok {
		return defaultBackoff
	}
	n, ok := v.(json.Number)
	if rate := float(n); ok && rate >= 1 {
		return rate
	}
	p.schema(place+"/BackoffRate", "Expected a number of at least 1.0")
	return defaultBackoff
}

func (p *parser) catchers(o map[string]any, place string) []catcher {
	list := p.list(o, "Catch", place)
	var all []catcher
	for i, e := range list {
		at := fmt.Sprintf("%s/Catch[%d]", place, i)
		p.known(e, at, []string{"ErrorEquals", "Next", "ResultPath", "Assign", "Comment"})
		c := catcher{errors: p.errorNames(e, at, i == len(list)-1), assign: p.assign(e, at)}
		if p.required(e, at, "Next") {
			c.next = p.text(e, "Next", at)
		}
		c.resultPath, c.noResult = p.resultPath(e, at)
		all = append(all, c)
	}
	return all
}
