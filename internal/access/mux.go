package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// MaxBody is the bytes that the body of a request may have, where its route does
// not say otherwise.
const MaxBody = 1 << 20

// Options is what a Mux stands on.
type Options struct {
	Table       platform.Table
	Clock       platform.Clock
	IDs         platform.IDs
	Log         *slog.Logger
	Credentials *Credentials
	// Origins are those of our own pages, where a gateway changes the host; none
	// for the server that the browser sees.
	Origins []string
	// Describe, if set, is told every route, and served as /api/openapi.json.
	Describe Describer
}

// Describer makes the API's description: package openapi. It marshals to JSON.
type Describer interface {
	json.Marshaler
	// Add describes a route; an error stops the start.
	Add(Route) error
}

// Mux is the one way to a handler: it gives each request an id, finds out who
// asks, decides whether they may, bounds what they send, and turns values and
// errors into answers.
type Mux struct {
	Options
	routes  map[string]Route // by pattern
	order   []string         // patterns as registered
	serve   *http.ServeMux
	origins *http.CrossOriginProtection
	limits  *limiter
}

// New makes a Mux with the routes of this package (routes.go). An error is a wrong
// option.
func New(o Options) (*Mux, error) {
	m := &Mux{
		Options: o,
		routes:  map[string]Route{},
		serve:   http.NewServeMux(),
		origins: http.NewCrossOriginProtection(),
		limits:  newLimiter(o.Clock),
	}
	for _, origin := range o.Origins {
		if err := m.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("origin %s: %w", origin, err)
		}
	}
	return m, m.Register(m.ownRoutes()...)
}

// Register adds routes. An error is a mistake in a route's declaration, and must
// stop the start.
func (m *Mux) Register(routes ...Route) error {
	var errs []error
	for _, route := range routes {
		if err := m.register(route); err != nil {
			errs = append(errs, fmt.Errorf("route %q: %w", route.Pattern, err))
		}
	}
	return errors.Join(errs...)
}

func (m *Mux) register(route Route) (err error) {
	if err := route.check(); err != nil {
		return err
	}
	if _, twice := m.routes[route.Pattern]; twice {
		return errors.New("is registered twice")
	}
	defer func() { // how ServeMux refuses a pattern
		if refusal := recover(); refusal != nil {
			err = fmt.Errorf("%v", refusal)
		}
	}()
	if m.Describe != nil {
		if err := m.Describe.Add(route); err != nil {
			return err
		}
	}
	m.serve.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) { m.handle(route, w, r) })
	m.routes[route.Pattern] = route
	m.order = append(m.order, route.Pattern)
	return nil
}

// check says what a declaration lacks.
func (route Route) check() error {
	method, path, _ := strings.Cut(route.Pattern, " ")
	if method == "" || !strings.HasPrefix(path, "/") {
		return errors.New("a pattern is a method and a path")
	}
	if !route.Action.known() {
		return fmt.Errorf("action %q is not one of action.go", route.Action)
	}
	if route.Handle == nil || route.Summary == "" {
		return errors.New("needs a handler and a summary")
	}
	return route.Resource.check(path, route.Action)
}

func (res Resource) check(path string, action Action) error {
	_, roled := granted[action]
	if byRole := res.needsRole(); byRole != roled {
		return fmt.Errorf("action %s does not go with resource %q", action, res.kind)
	}
	switch res.kind {
	case "":
		return errors.New("needs a resource")
	case inPath:
		if !strings.Contains(path, "{org}") || !strings.Contains(path, "{"+res.name+"}") {
			return fmt.Errorf("the path lacks {org} or {%s}", res.name)
		}
	case ofOrg, stream:
		if !strings.Contains(path, "{org}") {
			return errors.New("the path lacks {org}")
		}
	case public:
		if res.name == "" {
			return errors.New("a public route says why it is public")
		}
	}
	return nil
}

// needsRole tells whether a role opens it, and not another proof.
func (res Resource) needsRole() bool {
	switch res.kind {
	case inPath, ofOrg, ofSelf, stream:
		return true
	}
	return false
}

// ServeHTTP answers every request with JSON: a value, or a problem document.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Request-Id", m.IDs.New())
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	defer m.recover(w, r)
	if _, pattern := m.serve.Handler(r); pattern == "" {
		m.unknown(w, r)
		return
	}
	m.serve.ServeHTTP(w, r)
}

// recover turns a panic into the problem "internal". What was written stays; a
// handler that wants the connection cut says so with http.ErrAbortHandler.
func (m *Mux) recover(w http.ResponseWriter, r *http.Request) {
	switch cause := recover(); cause {
	case nil:
	case http.ErrAbortHandler:
		panic(cause)
	default:
		problem.Write(w, r, m.Log, fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
	}
}

// unknown answers an address that no route has: 405 with Allow where another
// method would do, else 404.
func (m *Mux) unknown(w http.ResponseWriter, r *http.Request) {
	handler, _ := m.serve.Handler(r)
	asked := &statusOnly{header: http.Header{}}
	handler.ServeHTTP(asked, r)
	if asked.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", asked.header.Get("Allow"))
		problem.Write(w, r, m.Log, problem.New(problem.NoMethod, "Use %s.", asked.header.Get("Allow")))
		return
	}
	problem.Write(w, r, m.Log, errAbsent)
}

// statusOnly keeps what ServeMux would have answered, without its text.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }

// handle is the life of a request that a route was found for.
func (m *Mux) handle(route Route, w http.ResponseWriter, r *http.Request) {
	caller, err := m.admit(route, w, r)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	if err := checkText(r); err != nil {
		m.fail(w, r, err)
		return
	}
	if err := checkMediaType(route, r); err != nil {
		m.fail(w, r, err)
		return
	}
	limit := route.MaxBody
	if limit == 0 {
		limit = MaxBody
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if key := r.Header.Get("Idempotency-Key"); key != "" && route.Repeatable() {
		m.once(route, caller, key, w, r)
		return
	}
	result, err := route.Handle(withOperation(r, w.Header().Get("X-Request-Id")), caller)
	m.answer(route, result, err).send(m, w, r)
}

// checkText refuses an address that is no text: it would be part of keys.
func checkText(r *http.Request) error {
	query, err := url.QueryUnescape(r.URL.RawQuery)
	if err != nil || !utf8.ValidString(query) || !utf8.ValidString(r.URL.Path) {
		return problem.New(problem.Invalid, "The address is not valid UTF-8, percent-encoded.")
	}
	return nil
}

// Repeatable tells whether the route's answers are kept under idempotency keys.
func (route Route) Repeatable() bool {
	return strings.HasPrefix(route.Pattern, http.MethodPost+" ") && route.Resource.needsRole() && !route.Secret
}

// checkMediaType holds writes to JSON, which no form of another site can send.
func checkMediaType(route Route, r *http.Request) error {
	if route.Raw || r.ContentLength == 0 || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return problem.New(problem.MediaType, "Send the body with `Content-Type: application/json`.")
	}
	return nil
}

// answer is what a handler has answered, ready to be sent and to be kept.
type answer struct {
	status int
	body   []byte
	writes http.Handler // writes the answer itself
	err    error
}

func (m *Mux) answer(route Route, result any, err error) answer {
	if err != nil {
		return answer{err: err}
	}
	status := route.Status
	switch result := result.(type) {
	case nil:
		return answer{status: http.StatusNoContent}
	case http.Handler:
		return answer{writes: result}
	default:
		var body bytes.Buffer
		encoder := json.NewEncoder(&body)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(result); err != nil {
			return answer{err: fmt.Errorf("answer of %s: %w", route.Pattern, err)}
		}
		if status == 0 {
			status = http.StatusOK
		}
		return answer{status: status, body: body.Bytes()}
	}
}

func (a answer) send(m *Mux, w http.ResponseWriter, r *http.Request) {
	switch {
	case a.err != nil:
		m.fail(w, r, a.err)
	case a.writes != nil:
		a.writes.ServeHTTP(w, r)
	default:
		if a.body != nil {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(a.status)
		if _, err := w.Write(a.body); err != nil {
			m.Log.InfoContext(r.Context(), "answer not written", "request", w.Header().Get("X-Request-Id"), "err", err)
		}
	}
}

// fail answers with a problem, and knows the errors that come from reading a body.
func (m *Mux) fail(w http.ResponseWriter, r *http.Request, err error) {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		err = problem.New(problem.TooLarge, "The body may have %d bytes.", large.Limit)
	}
	if problem.Is(err, problem.Unauthorized) {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	problem.Write(w, r, m.Log, err)
}
