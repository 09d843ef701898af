package forge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrBody says that a body cannot be read: not JSON, too deep, too wide, or
// without what its event must have.
var ErrBody = errors.New("the body cannot be read")

func badBody(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBody, fmt.Sprintf(format, args...))
}

// decode reads the fields of v out of body, once its shape is known to be harmless.
func decode(body []byte, v any) error {
	if err := checkShape(body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return badBody("%v", err)
	}
	return nil
}

// checkShape holds a body to the limits of size, depth and width, without
// decoding: one pass that keeps one counter for each open level.
func checkShape(body []byte) error {
	if len(body) > MaxBody {
		return badBody("%d bytes; at most %d are read", len(body), MaxBody)
	}
	var elements [MaxDepth]int
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth == MaxDepth {
				return badBody("nested deeper than %d", MaxDepth)
			}
			elements[depth] = 0
			depth++
		case c == '}' || c == ']':
			depth = max(0, depth-1)
		case c == ',' && depth > 0:
			if elements[depth-1]++; elements[depth-1] >= MaxElements {
				return badBody("more than %d elements in one list", MaxElements)
			}
		}
	}
	return nil
}

// identify walks the top level of a body to the object that holds the identity
// and reads it there. Nothing before it is kept, nothing behind it is looked at.
func identify(body []byte, object string, read func(json.RawMessage) (Identity, error)) (Identity, error) {
	if err := checkShape(body); err != nil {
		return Identity{}, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return Identity{}, badBody("it is no JSON object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return Identity{}, badBody("%v", err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return Identity{}, badBody("%v", err)
		}
		if name == object {
			return read(value)
		}
	}
	return Identity{}, badBody("it names no %s", object)
}

// id is a provider's id, which is a number with some and a string with others.
type id string

func (i *id) UnmarshalJSON(b []byte) error {
	var text string
	switch {
	case bytes.Equal(b, []byte("null")):
		return nil
	case b[0] == '"':
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	default:
		var n json.Number
		if err := json.Unmarshal(b, &n); err != nil {
			return err
		}
		text = n.String()
	}
	if len(text) > 64 {
		return badBody("an id has %d characters", len(text))
	}
	*i = id(text)
	return nil
}
