// Package openapi describes the API in OpenAPI 3.1. It is all that BuildIt uses of
// huma: its operations and its schemas of Go types. Requests do not pass through
// it, and the command line, which links the domains, does not link it.
package openapi

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/problem"
)

// A list of ours is never null. huma has this choice for the whole program alone.
func init() { huma.DefaultArrayNullable = false }

// Document is the description of the routes that were added.
type Document struct{ api *huma.OpenAPI }

// New makes a document without routes. version is that of BuildIt.
func New(version string) *Document {
	return &Document{&huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info:    &huma.Info{Title: "BuildIt", Version: version},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"token":  {Type: "http", Scheme: "bearer", Description: "An API token, bt_…"},
				"job":    {Type: "http", Scheme: "bearer", Description: "The token of one attempt, btj_…"},
				"ticket": {Type: "http", Scheme: "bearer", Description: "The ticket of one attempt, btt_…"},
			},
		},
	}}
}

// schemaName names a type with its package in front, so that two packages may have
// types of one name.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	path := strings.Split(t.PkgPath(), "/")
	home := path[len(path)-1]
	if home == "" {
		return name
	}
	return strings.ToUpper(home[:1]) + home[1:] + name
}

// MarshalJSON is the document as it is served.
func (d *Document) MarshalJSON() ([]byte, error) { return d.api.MarshalJSON() }

// Add registers a route as an operation of huma. An error is a type that has no
// schema, or a name that is taken.
func (d *Document) Add(route access.Route) (err error) {
	defer func() { // how huma refuses
		if refusal := recover(); refusal != nil {
			err = fmt.Errorf("openapi: %v", refusal)
		}
	}()
	method, path, _ := strings.Cut(route.Pattern, " ")
	path = strings.ReplaceAll(path, "...}", "}")
	operation := &huma.Operation{
		Method: method, Path: path, Summary: route.Summary,
		OperationID: operationName(method, path),
		Tags:        []string{firstWord(string(route.Action))},
		Parameters:  append(pathParameters(path), queryParameters(route.Query)...),
		Responses:   d.responses(route),
		Security:    security(route.Resource.Proof()),
		Extensions:  map[string]any{"x-action": string(route.Action), "x-resource": route.Resource.String()},
	}
	if route.Repeatable() {
		operation.Parameters = append(operation.Parameters, &huma.Param{
			Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "A word of yours for this request. Sent again with it, the request is answered as the first time and does nothing more.",
		})
	}
	if route.In != nil {
		operation.RequestBody = &huma.RequestBody{Required: true, Content: d.content("application/json", route.In, operation.OperationID+"-in")}
	}
	d.api.AddOperation(operation)
	return nil
}

func (d *Document) responses(route access.Route) map[string]*huma.Response {
	method, path, _ := strings.Cut(route.Pattern, " ")
	status := route.Status
	if status == 0 {
		status = http.StatusOK
	}
	success := &huma.Response{Description: http.StatusText(status)}
	if route.Out != nil {
		success.Content = d.content("application/json", route.Out, operationName(method, path)+"-out")
	}
	return map[string]*huma.Response{
		strconv.Itoa(status): success,
		"default": {
			Description: "A problem (RFC 9457).",
			Content:     d.content("application/problem+json", problem.Document{}, "problem"),
		},
	}
}

func (d *Document) content(kind string, value any, hint string) map[string]*huma.MediaType {
	schema := d.api.Components.Schemas.Schema(reflect.TypeOf(value), true, hint)
	return map[string]*huma.MediaType{kind: {Schema: schema}}
}

func pathParameters(path string) []*huma.Param {
	var parameters []*huma.Param
	for segment := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			parameters = append(parameters, &huma.Param{
				Name: strings.TrimSuffix(name, "}"), In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
			})
		}
	}
	return parameters
}

func queryParameters(query map[string]string) []*huma.Param {
	var parameters []*huma.Param
	for _, name := range slices.Sorted(maps.Keys(query)) {
		parameters = append(parameters, &huma.Param{
			Name: name, In: "query", Description: query[name], Schema: &huma.Schema{Type: huma.TypeString},
		})
	}
	return parameters
}

func security(proof string) []map[string][]string {
	if proof == "" {
		return []map[string][]string{}
	}
	return []map[string][]string{{proof: {}}}
}

// operationName is method and path in one word: get-runs-run.
func operationName(method, path string) string {
	path = strings.TrimPrefix(strings.TrimPrefix(path, "/api/v1"), "/orgs/{org}")
	words := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("/{}.", r) })
	return strings.Join(append([]string{strings.ToLower(method)}, words...), "-")
}

func firstWord(action string) string {
	word, _, _ := strings.Cut(action, ":")
	return word
}
