package access

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/buildit-dev/buildit/internal/problem"
)

// description is the API's OpenAPI 3.1 document, and all that we use of huma: its
// operations and its schemas of Go types. Requests do not pass through it.
type description struct{ api *huma.OpenAPI }

func newDescription(version string) *description {
	return &description{&huma.OpenAPI{
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

// add registers a route. It panics, as huma does, for types that have no schema.
func (d *description) add(route Route) {
	method, path, _ := strings.Cut(route.Pattern, " ")
	path = strings.ReplaceAll(path, "...}", "}")
	operation := &huma.Operation{
		Method: method, Path: path, Summary: route.Summary,
		OperationID: operationName(method, path),
		Tags:        []string{firstWord(string(route.Action))},
		Parameters:  append(pathParameters(path), queryParameters(route.Query)...),
		Responses:   d.responses(route),
		Security:    security(route.Resource),
		Extensions:  map[string]any{"x-action": route.Action, "x-resource": route.Resource.String()},
	}
	if route.In != nil {
		operation.RequestBody = &huma.RequestBody{Required: true, Content: d.content("application/json", route.In, operation.OperationID+"-in")}
	}
	d.api.AddOperation(operation)
}

func (d *description) responses(route Route) map[string]*huma.Response {
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

func (d *description) content(kind string, value any, hint string) map[string]*huma.MediaType {
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

func security(res Resource) []map[string][]string {
	switch res.kind {
	case public:
		return []map[string][]string{}
	case runner, runnerRenews:
		return []map[string][]string{{"job": {}}}
	case runnerHello:
		return []map[string][]string{{"ticket": {}}}
	}
	return []map[string][]string{{"token": {}}}
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

// String is the resource as the authorization matrix shows it.
func (res Resource) String() string {
	switch res.kind {
	case inPath:
		return res.name
	case public:
		return "public: " + res.name
	}
	return string(res.kind)
}

// Operation is one route, for the CLI's help and the authorization matrix.
type Operation struct {
	Method   string `json:"method"`
	Path     string `json:"path"`
	Action   Action `json:"action"`
	Resource string `json:"resource"`
	Summary  string `json:"summary"`
}

// Operations lists the routes, in the order of their registration.
func (m *Mux) Operations() []Operation {
	operations := make([]Operation, 0, len(m.order))
	for _, pattern := range m.order {
		route := m.routes[pattern]
		method, path, _ := strings.Cut(pattern, " ")
		operations = append(operations, Operation{method, path, route.Action, route.Resource.String(), route.Summary})
	}
	return operations
}

// OpenAPI is the document as JSON.
func (m *Mux) OpenAPI() ([]byte, error) { return json.Marshal(m.doc.api) }
