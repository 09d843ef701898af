package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/problem"
)

// MaxJSON is the bytes that a JSON body may have.
const MaxJSON = 64 << 10

// Decode reads the body as the JSON of a T. It refuses what a T does not have, by
// name and with the name that was meant, all of it at once; a second value behind
// the first; invalid UTF-8; and more than MaxJSON bytes.
func Decode[T any](r *http.Request) (T, error) {
	var in, none T
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxJSON+1))
	if err != nil {
		return none, err
	}
	if len(body) > MaxJSON {
		return none, problem.New(problem.TooLarge, "The body may have %d bytes.", MaxJSON)
	}
	if err := checkBody(body, reflect.TypeFor[T]()); err != nil {
		return none, err
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return none, jsonProblem(err)
	}
	return in, nil
}

func checkBody(body []byte, into reflect.Type) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return problem.New(problem.Invalid, "The body is empty; send a JSON object, {} at least.")
	}
	if !utf8.Valid(body) {
		return problem.New(problem.Invalid, "The body is not valid UTF-8.")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return jsonProblem(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return problem.New(problem.Invalid, "Something follows the JSON value; send one value.")
	}
	places := unknownFields(tree, into, "")
	if len(places) == 0 {
		return nil
	}
	return &problem.Error{Kind: problem.Invalid, Detail: places[0].Detail, At: places}
}

// jsonProblem says where the JSON is wrong.
func jsonProblem(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return problem.New(problem.Invalid, "%s must be %s, not %s.", fieldName(kind.Field), jsonName(kind.Type), kind.Value).InField(kind.Field)
	case errors.As(err, &syntax):
		return problem.New(problem.Invalid, "The body is not JSON at byte %d: %v.", syntax.Offset, err)
	default:
		return problem.New(problem.Invalid, "The body is not JSON: %v.", err)
	}
}

func fieldName(field string) string {
	if field == "" {
		return "The body"
	}
	return field
}

func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return "a number"
	}
}

// unknownFields lists the fields of tree that t does not have, by path.
func unknownFields(tree any, t reflect.Type, path string) []problem.Place {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var places []problem.Place
	switch value := tree.(type) {
	case []any:
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			for i, element := range value {
				places = append(places, unknownFields(element, t.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
			}
		}
	case map[string]any:
		places = unknownIn(value, t, path)
	}
	return places
}

func unknownIn(object map[string]any, t reflect.Type, path string) []problem.Place {
	var places []problem.Place
	fields := jsonFields(t)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		at := strings.TrimPrefix(path+"."+name, ".")
		switch field, ok := fields[name]; {
		case t.Kind() == reflect.Map:
			places = append(places, unknownFields(object[name], t.Elem(), at)...)
		case ok:
			places = append(places, unknownFields(object[name], field, at)...)
		case t.Kind() == reflect.Struct && !readsItself(t):
			places = append(places, unknownField(at, name, fields))
		}
	}
	return places
}

func unknownField(at, name string, fields map[string]reflect.Type) problem.Place {
	place := problem.Place{Field: at, Detail: fmt.Sprintf("There is no field %q here.", at)}
	names := slices.Sorted(maps.Keys(fields))
	if meant := Nearest(name, names); meant != "" {
		place.Help = fmt.Sprintf("Did you mean %q?", meant)
	} else if len(names) > 0 {
		place.Help = "The fields are " + strings.Join(names, ", ") + "."
	}
	return place
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func readsItself(t reflect.Type) bool { return reflect.PointerTo(t).Implements(unmarshaler) }

// jsonFields are the fields of a struct by the names that JSON has for them.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	if t.Kind() != reflect.Struct {
		return fields
	}
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		embedded := field.Anonymous && name == ""
		if !field.IsExported() || embedded || name == "-" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		fields[name] = field.Type
	}
	return fields
}
