package repository_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository"
)

// post sends raw bytes to a hook's address, with the headers given in pairs.
func (h *house) post(path string, body io.Reader, headers ...string) *httptest.ResponseRecorder {
	h.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, body)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	return w
}

// T1: without the right proof nothing is written, and the answer tells nothing: not
// whether the repository exists, nor what was sent.
func TestUnprovedDeliveryWritesNothing(t *testing.T) {
	h := open(t)
	_, c := h.connect("shop", repository.GitHub)
	writes := h.writes()
	body := `{"repository":{"id":1004,"full_name":"shop"},"ref":"refs/heads/main"}`
	answers := map[string]bool{}
	for _, try := range []struct{ path, signature string }{
		{c.Webhook.Path, ""},
		{c.Webhook.Path, "sha256=" + strings.Repeat("0", 64)},
		{c.Webhook.Path, "sha1=" + strings.Repeat("0", 40)},
		{"/webhooks/github/nosuchrepository", "sha256=" + strings.Repeat("0", 64)},
		{"/webhooks/gitlab/" + c.Repository.ID, "sha256=" + strings.Repeat("0", 64)},
		{"/webhooks/gitea/" + c.Repository.ID, ""},
	} {
		w := h.post(try.path, strings.NewReader(body), "X-Hub-Signature-256", try.signature, "X-GitHub-Delivery", "d1", "X-GitHub-Event", "push")
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%+v: %d", try, w.Code)
		}
		var answer map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		delete(answer, "request")
		answers[fmt.Sprint(answer)] = true
	}
	if len(answers) != 1 {
		t.Errorf("the answers differ: %v", answers)
	}
	if again := h.writes(); again != writes {
		t.Errorf("%d writes", again-writes)
	}
	h.settle()
	if len(h.deliveries(c)) != 0 {
		t.Error("a delivery was stored")
	}
}

// T5: of all bodies and all secrets only those of one repository go together; off
// the diagonal no row and no blob appears.
func TestSecretOfOtherRepositoryRefused(t *testing.T) {
	h := open(t)
	names := []string{"a", "bb", "ccc"}
	var connected []repository.Connected
	for _, name := range names {
		_, c := h.connect(name, repository.GitHub)
		connected = append(connected, c)
	}
	for i, c := range connected {
		for j := range connected {
			for k, name := range names {
				id := fmt.Sprintf("d-%d-%d-%d", i, j, k)
				code := h.deliver(c, connected[j].Webhook.Secret, id, "push", pushBody(name, "refs/heads/x", null, null[1:]+"1"))
				stored := h.deliveries(c)[id].ID == id
				_, err := h.home.Blobs.Stat(t.Context(), acme.Blob("delivery", c.Repository.ID, id))
				right := i == j && j == k
				if (code == http.StatusAccepted) != right || stored != right || (err == nil) != right {
					t.Errorf("repository %s, secret of %s, body of %s: %d, row %v, blob %v", names[i], names[j], name, code, stored, err)
				}
			}
		}
	}
}

// A hook whose repository id nobody gave is bound by the first proved body that
// names the path of its clone URL, and to nothing else afterwards.
func TestHookIsBoundByItsFirstDelivery(t *testing.T) {
	h := open(t)
	w := h.server.New(t, "shop")
	w.Commit("one", ".buildit.kdl", onePipeline)
	w.Push()
	c, err := h.svc.Connect(t.Context(), acme, repository.ConnectRequest{URL: w.URL, Provider: repository.GitHub})
	if err != nil {
		t.Fatal(err)
	}
	body := func(id int, name string) object { return object{"repository": object{"id": id, "full_name": name}} }
	for i, try := range []struct {
		id   int
		name string
		want int
	}{{7, "other", 401}, {7, "Shop", 202}, {8, "shop", 401}, {7, "renamed/later", 202}} {
		if code := h.deliver(c, c.Webhook.Secret, fmt.Sprint("d", i), "ping", body(try.id, try.name)); code != try.want {
			t.Errorf("%+v: %d", try, code)
		}
	}
	h.settle()
	if d := h.deliveries(c)["d1"]; d.Status != repository.Ignored || !strings.Contains(d.Note, "it works") {
		t.Errorf("%+v", d)
	}
}

// T4: what is too large is refused before it is read, whether it says so or not.
func TestHundredMegabyteDelivery(t *testing.T) {
	h := open(t)
	_, c := h.connect("shop", repository.GitHub)
	endless := io.LimitReader(zeros{}, 100<<20)
	if w := h.post(c.Webhook.Path, endless); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("of unknown length: %d %s", w.Code, w.Body)
	}
	if w := h.post(c.Webhook.Path, bytes.NewReader(make([]byte, 6<<20))); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("of known length: %d %s", w.Code, w.Body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestTooManyDeliveriesOfOneAddress(t *testing.T) {
	h := open(t)
	for range 5000 {
		h.post("/webhooks/github/x", strings.NewReader("{}"))
	}
	if w := h.post("/webhooks/github/x", strings.NewReader("{}")); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// Both secrets hold for a day after a rotation, then the new one alone.
func TestRotatedSecret(t *testing.T) {
	h := open(t)
	_, c := h.connect("shop", repository.GitHub)
	fresh, err := h.svc.RotateSecret(t.Context(), acme, "shop", "")
	if err != nil {
		t.Fatal(err)
	}
	body := pushBody("shop", "refs/heads/x", null, null[1:]+"1")
	for name, try := range map[string]struct {
		secret string
		later  time.Duration
		want   int
	}{"new": {fresh.Secret, 0, 202}, "old": {c.Webhook.Secret, 0, 202}} {
		if code := h.deliver(c, try.secret, name, "push", body); code != try.want {
			t.Errorf("%s: %d", name, code)
		}
	}
	h.clock.Advance(25 * time.Hour)
	if code := h.deliver(c, c.Webhook.Secret, "old2", "push", body); code != 401 {
		t.Errorf("the old secret after a day: %d", code)
	}
	if code := h.deliver(c, fresh.Secret, "new2", "push", body); code != 202 {
		t.Errorf("the new secret after a day: %d", code)
	}
}

// No secret and no token lies in any row in clear.
func TestSecretsAreEncrypted(t *testing.T) {
	h := open(t)
	w := h.server.New(t, "shop")
	w.Commit("one", "a", "1")
	w.Push()
	const token = "glpat-verysecrettoken"
	c, err := h.svc.Connect(t.Context(), acme, repository.ConnectRequest{URL: w.URL, Provider: repository.GitLab, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []platform.RowKey{acme.Partition("repository", c.Repository.ID).Row("repository"), platform.Global("hook").Row("hook", c.Repository.ID)} {
		item, err := h.home.Table.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%s", item); strings.Contains(text, token) || strings.Contains(text, c.Webhook.Secret) {
			t.Errorf("%s", text)
		}
	}
}

func TestWhatCannotBeConnected(t *testing.T) {
	h := open(t)
	for _, tt := range []struct {
		in   repository.ConnectRequest
		says string
	}{
		{repository.ConnectRequest{URL: "git@github.com:a/b.git"}, "ssh is not supported yet"},
		{repository.ConnectRequest{URL: h.server.URL + "/none.git"}, "There is no git repository"},
		{repository.ConnectRequest{URL: h.server.URL + "/none.git", Name: "No Good"}, "is no name"},
		{repository.ConnectRequest{URL: h.server.URL + "/none.git", Provider: "gitea"}, "is no provider"},
		{repository.ConnectRequest{URL: h.server.URL + "/none.git", Provider: "github", WebhookSecret: "short"}, "at least 16"},
		{repository.ConnectRequest{URL: "http://169.254.169.254/a.git"}, "is not called"},
	} {
		writes := h.writes()
		_, err := h.svc.Connect(t.Context(), acme, tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v", tt.in, err)
		}
		if again := h.writes(); again != writes {
			t.Errorf("%+v: %d rows were written", tt.in, again-writes)
		}
	}
}

func TestDisconnect(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	head := w.Commit("two", "a", "1")
	w.Push()
	h.deliver(c, c.Webhook.Secret, "d1", "push", pushBody("shop", "refs/heads/main", null, head))
	if err := h.svc.Disconnect(t.Context(), acme, "shop"); err != nil {
		t.Fatal(err)
	}
	h.settle()
	h.want()
	if code := h.deliver(c, c.Webhook.Secret, "d2", "push", pushBody("shop", "refs/heads/main", null, head)); code != 401 {
		t.Error(code)
	}
	if _, err := h.svc.Connect(t.Context(), acme, repository.ConnectRequest{URL: w.URL}); err != nil {
		t.Errorf("its name is free again: %v", err)
	}
}
