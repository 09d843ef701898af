package asl

import (
	"fmt"
	"maps"
	"slices"
)

// reference is a ResultPath: a path of names and indexes, to which a value can be
// written.
//
// Source: the specification, "Reference Paths" and "ResultPath".
type reference struct {
	source string
	steps  []step
}

func parseReference(source string) (reference, error) {
	p, err := parsePath(source)
	if err != nil {
		return reference{}, err
	}
	for _, s := range p.steps {
		if _, counts := s.(length); !p.definite || counts {
			return reference{}, fmt.Errorf("'%s' must be a reference path: names and indexes only", source)
		}
	}
	return reference{source, p.steps}, nil
}

// put answers into with value at the place of the reference; missing objects on
// the way are made. into itself stays as it is.
func (r reference) put(into, value any) (any, error) {
	return r.putSteps(into, value, r.steps)
}

func (r reference) putSteps(into, value any, steps []step) (any, error) {
	if len(steps) == 0 {
		return value, nil
	}
	if name, ok := steps[0].(names); ok {
		object, isObject := into.(map[string]any)
		if !isObject && into != nil {
			return nil, r.mismatch(into)
		}
		inner, err := r.putSteps(object[name[0]], value, steps[1:])
		if err != nil {
			return nil, err
		}
		changed := make(map[string]any, len(object)+1)
		maps.Copy(changed, object)
		changed[name[0]] = inner
		return changed, nil
	}
	array, isArray := into.([]any)
	index, ok := steps[0].(indexes)
	if !isArray || !ok || index[0] < 0 || index[0] >= len(array) {
		return nil, r.mismatch(into)
	}
	inner, err := r.putSteps(array[index[0]], value, steps[1:])
	if err != nil {
		return nil, err
	}
	changed := slices.Clone(array)
	changed[index[0]] = inner
	return changed, nil
}

func (r reference) mismatch(into any) error {
	return saying("Unable to apply ReferencePath %s to input %s", r.source, text(into))
}
