package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/access"
)

// document is what the test reads of the description of the API.
type document struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Name, In string
			Required bool
		}
		RequestBody *struct {
			Content map[string]struct{ Schema schema }
		}
		Responses map[string]json.RawMessage
		Security  []map[string][]string
	}
	Components struct{ Schemas map[string]schema }
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any    // a word, or a list of words
	Properties map[string]schema
	Required   []string
}

// client walks the document as a stranger's program would: it knows nothing else.
type client struct {
	t     *testing.T
	house house
	doc   document
	token string
	calls int
}

func newClient(t *testing.T) *client {
	t.Helper()
	h := open(t)
	c := &client{t: t, house: h}
	answer := c.call(http.MethodGet, "/api/openapi.json", "", nil)
	if err := json.Unmarshal(answer.Body.Bytes(), &c.doc); err != nil {
		t.Fatal(err)
	}
	return c
}

// call sends a request, each from an address of its own, so that no limit is met.
func (c *client) call(method, target, body string, headers map[string]string) *httptest.ResponseRecorder {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.t.Context(), method, target, strings.NewReader(body))
	c.calls++
	r.RemoteAddr = fmt.Sprintf("198.51.%d.%d:1", c.calls/250%250, c.calls%250)
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	c.house.server.Handler.ServeHTTP(w, r)
	return w
}

// problem holds an answer to be a problem document of one of the kinds that a client
// can do something about.
func (c *client) problem(what string, answer *httptest.ResponseRecorder, types ...string) {
	c.t.Helper()
	kind, _, err := mime.ParseMediaType(answer.Header().Get("Content-Type"))
	var p struct {
		Type, Title, Request string
		Status               int
	}
	if err == nil {
		err = json.Unmarshal(answer.Body.Bytes(), &p)
	}
	word := p.Type[strings.LastIndex(p.Type, "/")+1:]
	what = what[:min(len(what), 150)]
	if err != nil || kind != "application/problem+json" || p.Status != answer.Code || p.Title == "" || answer.Header().Get("X-Request-Id") == "" ||
		answer.Code < 400 || answer.Code > 499 || !slices.Contains(types, word) {
		c.t.Errorf("%s: %d %s, want a problem of %v: %v\n%.400s", what, answer.Code, kind, types, err, answer.Body)
	}
}

// decent holds an answer to be what the document promises: a described success, or a
// problem that is not our fault.
func (c *client) decent(what string, answer *httptest.ResponseRecorder, described map[string]json.RawMessage) {
	c.t.Helper()
	if _, fine := described[fmt.Sprint(answer.Code)]; fine {
		return
	}
	c.problem(what, answer, "invalid-input", "not-found", "wrong-status", "exists", "too-large", "unauthorized", "forbidden", "config-invalid")
}

// auth is an owner's headers. The owner gets a new token from time to time, since
// those have their limit too.
func (c *client) auth() map[string]string {
	if c.token == "" || c.calls%20 == 0 {
		c.token = c.house.token(c.t, access.DefaultOrg, access.Owner)
	}
	return map[string]string{"Authorization": "Bearer " + c.token, "Content-Type": "application/json"}
}

// fill replaces the parameters of a path.
func fill(path, org, value string) string {
	return wildcard.ReplaceAllString(strings.ReplaceAll(path, "{org}", org), value)
}

// oddNames are path parameters that nobody has made, percent-encoded.
var oddNames = []string{
	"none", "0", "-1", "%20", "%00", "%ff%fe", "%2e%2e", "..%2f..%2fetc", "a%2fb", "a%23b", "%F0%9F%8D%B5", "%7B%7D", strings.Repeat("a", 26), strings.Repeat("x", 5000),
}

var oddValues = []string{"", "0", "-1", "201", "99999999999999999999", "1.5", "abc", "%00", "%ff", "%F0%9F%8D%B5", "a%23b", strings.Repeat("x", 3000)}

// TestDocumentIsTrue asks every route of the document what people and their programs
// get wrong, and gets a problem with a stable type each time: never an internal error,
// never a success that was not described.
func TestDocumentIsTrue(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for _, path := range slices.Sorted(maps.Keys(c.doc.Paths)) {
		for word, op := range c.doc.Paths[path] {
			method := strings.ToUpper(word)
			what := method + " " + path
			ours := strings.HasPrefix(path, "/api/v1/")
			if !ours {
				continue // supervisors and providers have proofs of their own, and tests of their own
			}
			good := fill(path, access.DefaultOrg, "none")
			if len(op.Security) > 0 {
				c.problem(what+" without a token", c.call(method, good, "{}", map[string]string{"Content-Type": "application/json"}), "unauthorized")
				c.problem(what+" with a wrong token", c.call(method, good, "{}", map[string]string{"Authorization": "Bearer bt_x", "Content-Type": "application/json"}), "unauthorized")
			}
			if strings.Contains(path, "{org}") && len(op.Security) > 0 {
				c.problem(what+" of another organization", c.call(method, good, "{}", map[string]string{"Authorization": "Bearer " + c.house.token(t, "other", access.Owner), "Content-Type": "application/json"}), "not-found")
			}
			if _, takes := c.doc.Paths[path]["patch"]; !takes {
				c.problem(what+" by PATCH", c.call(http.MethodPatch, good, "{}", c.auth()), "method-not-allowed")
			}
			for _, name := range oddNames {
				if strings.Contains(path, "{") {
					c.decent(what+" of "+name, c.call(method, fill(path, access.DefaultOrg, name), "{}", c.auth()), op.Responses)
					c.decent(what+" in organization "+name, c.call(method, fill(path, name, "none"), "{}", c.auth()), op.Responses)
				}
			}
			for _, p := range op.Parameters {
				for _, value := range oddValues {
					if p.In == "query" {
						c.decent(what+" with "+p.Name+"="+value, c.call(method, good+"?"+p.Name+"="+value, "{}", c.auth()), op.Responses)
					}
				}
			}
			if op.RequestBody != nil {
				c.bodies(what, method, good, op.RequestBody.Content["application/json"].Schema, op.Responses)
			}
		}
	}
}

// bodies sends what a body of the schema must not be.
func (c *client) bodies(what, method, target string, s schema, described map[string]json.RawMessage) {
	c.t.Helper()
	if s.Ref != "" {
		s = c.doc.Components.Schemas[s.Ref[strings.LastIndex(s.Ref, "/")+1:]]
	}
	bad := []string{"", "null", "[]", `"text"`, "1", "{", "{} {}", `{"no_such_field":1}`, "{\"a\":\"\xff\"}", strings.Repeat("[", 20000)}
	for name, property := range s.Properties {
		for kind, value := range map[string]string{"string": `"x"`, "boolean": "true", "integer": "7", "array": "[1]", "object": `{"a":{"b":1}}`, "number": "1.5"} {
			if !slices.Contains(strings.Fields(strings.Trim(fmt.Sprint(property.Type), "[]")), kind) {
				bad = append(bad, fmt.Sprintf(`{%q:%s}`, name, value))
			}
		}
	}
	for _, body := range bad {
		c.problem(fmt.Sprintf("%s with %.60s", what, body), c.call(method, target, body, c.auth()), "invalid-input", "not-found")
	}
	for name, property := range s.Properties {
		if fmt.Sprint(property.Type) == "string" {
			for _, text := range []string{strings.Repeat("x", 60_000), "\u0000", "🍵\n\r\t", "../../etc", "-rf"} {
				body, err := json.Marshal(map[string]string{name: text})
				if err != nil {
					c.t.Fatal(err)
				}
				c.decent(fmt.Sprintf("%s with %s %.10q", what, name, text), c.call(method, target, string(body), c.auth()), described)
			}
		}
	}
	c.problem(what+" with 1 MB", c.call(method, target, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`, c.auth()), "too-large", "not-found")
	text := c.auth()
	text["Content-Type"] = "text/plain"
	c.problem(what+" as text", c.call(method, target, "{}", text), "unsupported-media-type")
	key := c.auth()
	key["Idempotency-Key"] = strings.Repeat("k", 5000)
	c.problem(what+" with a huge key", c.call(method, target, "{}", key), "invalid-input", "not-found")
}
