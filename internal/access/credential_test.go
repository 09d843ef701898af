package access_test

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

const self = "GET /api/v1/self"

func TestTokenIsTakenExactly(t *testing.T) {
	t.Parallel()
	h := open(t)
	token := h.token("acme", access.Viewer)
	if got := h.call(self, token, ""); got.status != 200 || !strings.Contains(got.body, `"org":"acme"`) {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for i := range token { // one character changed, anywhere
		changed := []byte(token)
		changed[i] ^= 3
		if got := h.rested().call(self, string(changed), ""); got.status != 401 || got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Fatalf("character %d changed: %d", i, got.status)
		}
	}
	for _, wrong := range []string{token + "a", token[:len(token)-1], " " + token, strings.ToUpper(token), "bt_#_#"} {
		if got := h.rested().call(self, wrong, ""); got.status != 401 {
			t.Errorf("%q: %d", wrong, got.status)
		}
	}
	if got := h.call(self, "", "", "Authorization", "Basic "+token); got.status != 401 {
		t.Errorf("another scheme: %d", got.status)
	}
}

// T16: what is stored of a token does not open anything.
func TestTokenIsStoredAsHash(t *testing.T) {
	t.Parallel()
	h := open(t)
	token := h.token("acme", access.Owner)
	secret := strings.Split(token, "_")[2]
	page, err := h.table.Query(t.Context(), platform.Query{Partition: platform.Global("token")})
	if err != nil || len(page.Rows) != 1 {
		t.Fatalf("%v, %d rows", err, len(page.Rows))
	}
	for name, value := range page.Rows[0].Item {
		if text, ok := value.(platform.Text); ok && strings.Contains(string(text), secret) {
			t.Errorf("attribute %s holds the secret", name)
		}
	}
}

func TestTokenExpiresAndIsListed(t *testing.T) {
	t.Parallel()
	h := open(t)
	admin := h.token("acme", access.Admin)
	h.token("other", access.Viewer)
	h.clock.Advance(time.Second) // lists are by time of making
	made := h.call("POST /api/v1/orgs/acme/tokens", admin, `{"name":"ci","role":"viewer","days":1}`)
	_, rest, _ := strings.Cut(made.body, `"secret":"`)
	ci, _, _ := strings.Cut(rest, `"`)
	if got := h.call(self, ci, ""); made.status != 201 || got.status != 200 {
		t.Fatalf("%d %s; used: %d", made.status, made.body, got.status)
	}
	first := h.call("GET /api/v1/orgs/acme/tokens?limit=1", admin, "")
	_, rest, _ = strings.Cut(first.body, `"next":"`)
	cursor, _, _ := strings.Cut(rest, `"`)
	second := h.call("GET /api/v1/orgs/acme/tokens?limit=1&cursor="+cursor, admin, "")
	if strings.Count(first.body+second.body, `"id"`) != 2 || !strings.Contains(second.body, `"name":"ci"`) || strings.Contains(second.body, ci) {
		t.Errorf("listed: %s %s", first.body, second.body)
	}
	h.clock.Advance(24 * time.Hour)
	if got := h.call(self, ci, ""); got.status != 401 {
		t.Errorf("after a day: %d", got.status)
	}
}

// T19: nobody makes a token that may do more than they may.
func TestTokenGrantsNoMoreThanItsMaker(t *testing.T) {
	t.Parallel()
	h := open(t)
	admin := h.token("acme", access.Admin)
	limited := h.token("acme", access.Admin, access.TokenCreate, access.LogRead)
	const create = "POST /api/v1/orgs/acme/tokens"
	for body, want := range map[string]int{
		`{"name":"x","role":"owner"}`:                           403,
		`{"name":"x","role":"admin"}`:                           201,
		`{"name":"x","role":"king"}`:                            400,
		`{"name":"","role":"viewer"}`:                           400,
		`{"name":"x","role":"viewer","days":-1}`:                400,
		`{"name":"x","role":"viewer","actions":["job:work"]}`:   400,
		`{"name":"x","role":"viewer","actions":["log:read"]}`:   201,
		`{"name":"x","role":"viewer","actions":"log:read"}`:     400,
		`{"name":"x","role":"viewer","expires":"2030-01-01"}`:   400,
		`{"name":"x","role":"viewer","days":1} {"role":"king"}`: 400,
	} {
		if got := h.call(create, admin, body); got.status != want {
			t.Errorf("%s: %d %s, want %d", body, got.status, got.body, want)
		}
	}
	for body, want := range map[string]int{
		`{"name":"x","role":"viewer"}`:                        403,
		`{"name":"x","role":"viewer","actions":["run:read"]}`: 403,
		`{"name":"x","role":"viewer","actions":["log:read"]}`: 201,
	} {
		if got := h.call(create, limited, body); got.status != want {
			t.Errorf("limited, %s: %d %s, want %d", body, got.status, got.body, want)
		}
	}
	if got := h.call("DELETE /api/v1/orgs/acme/tokens/"+strings.Split(h.token("other", access.Viewer), "_")[1], admin, ""); got.status != 404 {
		t.Errorf("revoking another organization's token: %d", got.status)
	}
}

func TestJobTokenIsBound(t *testing.T) {
	t.Parallel()
	h := open(t)
	token := h.jobToken("acme")
	caller, err := h.creds.VerifyJob(t.Context(), token)
	if err != nil || caller.Org.ID() != "acme" || caller.Job != job {
		t.Fatalf("%+v %v", caller, err)
	}
	for i := range token {
		changed := []byte(token)
		changed[i] ^= 1
		if _, err := h.creds.VerifyJob(t.Context(), string(changed)); !problem.Is(err, problem.Unauthorized) {
			t.Fatalf("character %d changed: %v", i, err)
		}
	}
	if _, err := open(t).creds.VerifyJob(t.Context(), token); err == nil {
		t.Error("another home's key verified it")
	}
	// Fields have their lengths in front: the same letters in other fields are another token.
	shifted := job
	shifted.Run, shifted.StageKey = job.Run+job.StageKey[:1], job.StageKey[1:]
	other, _, err := h.creds.MintJob(t.Context(), platform.System("acme", "test"), shifted)
	if err != nil || claims(t, other) == claims(t, token) {
		t.Errorf("the claims of two jobs are the same bytes (%v)", err)
	}
}

func claims(t *testing.T, token string) string {
	t.Helper()
	encoded, _, _ := strings.Cut(strings.TrimPrefix(token, "btj_"), ".")
	payload, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

// T20, TokenExpiredDuringOutage: an expired token opens the beat alone, which
// renews it; a day later nothing.
func TestJobTokenExpiredDuringOutageRenews(t *testing.T) {
	t.Parallel()
	h := open(t)
	token := h.jobToken("acme")
	renew := func() (string, access.Caller) {
		caller, err := h.creds.VerifyJob(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		fresh, _, err := h.creds.RenewJob(t.Context(), caller)
		if err != nil {
			t.Fatal(err)
		}
		return fresh, caller
	}
	if fresh, _ := renew(); fresh != "" {
		t.Error("a fresh token was renewed")
	}
	h.clock.Advance(access.JobLife/2 + time.Second)
	if fresh, caller := renew(); fresh == "" || caller.Job.Expired {
		t.Errorf("past half of its life: %q, expired %v", fresh, caller.Job.Expired)
	}
	h.clock.Advance(16 * time.Minute)
	fresh, caller := renew()
	if fresh == "" || !caller.Job.Expired {
		t.Errorf("after an outage: %q, expired %v", fresh, caller.Job.Expired)
	}
	if caller, err := h.creds.VerifyJob(t.Context(), fresh); err != nil || caller.Job != job {
		t.Errorf("renewed: %+v %v", caller.Job, err)
	}
	h.clock.Advance(25 * time.Hour)
	if _, err := h.creds.VerifyJob(t.Context(), token); !problem.Is(err, problem.Unauthorized) {
		t.Errorf("a day later: %v", err)
	}
}

func hello() access.Route {
	return access.Route{
		Pattern: "POST /runner/v1/hello", Action: access.JobWork, Resource: access.RunnerHello(), Summary: "Hello",
		Handle: func(_ *http.Request, caller access.Caller) (any, error) { return caller.Job, nil },
	}
}

func TestHelloTicketBelongsToItsFirstBoot(t *testing.T) {
	t.Parallel()
	h := open(t, hello())
	ticket, err := h.creds.HelloTicket(t.Context(), platform.System("acme", "test"), job)
	if err != nil {
		t.Fatal(err)
	}
	say := func(boot string) int {
		return h.call("POST /runner/v1/hello", ticket, "{}", access.BootHeader, boot).status
	}
	if first, again := say("one"), say("one"); first != 200 || again != 200 {
		t.Error("a hello whose answer was lost may be repeated")
	}
	if say("two") != 401 || say("") != 401 {
		t.Error("another boot has said hello with a used ticket")
	}
	h.clock.Advance(access.HelloTicketLife)
	if say("one") != 401 {
		t.Error("the ticket outlived its time")
	}
}

// T13: of many who show one ticket, one has it, once.
func TestStreamTicketOpensOnce(t *testing.T) {
	t.Parallel()
	peek := access.Route{
		Pattern: "GET /api/v1/orgs/{org}/stream", Action: access.StreamOpen, Resource: access.Stream(), Summary: "x", Handle: echo,
	}
	h := open(t, peek)
	token := h.token("acme", access.Viewer)
	ticket := func() string {
		_, rest, _ := strings.Cut(h.call("POST /api/v1/ws-ticket", token, "").body, `"ticket":"`)
		ticket, _, _ := strings.Cut(rest, `"`)
		return ticket
	}
	use := func(org, ticket string) int {
		return h.call("GET /api/v1/orgs/"+org+"/stream?ticket="+ticket, "", "").status
	}
	shown := ticket()
	statuses := make([]int, 24)
	var all sync.WaitGroup
	for i := range statuses {
		all.Go(func() { statuses[i] = use("acme", shown) })
	}
	all.Wait()
	opened := 0
	for _, status := range statuses {
		if status == 200 {
			opened++
		}
	}
	if opened != 1 {
		t.Errorf("the ticket opened %d streams: %v", opened, statuses)
	}
	h.rested()
	if got := use("other", ticket()); got != 404 {
		t.Errorf("another organization's stream: %d", got)
	}
	late := ticket()
	h.clock.Advance(access.StreamTicketLife)
	if got := use("acme", late); got != 401 {
		t.Errorf("after its 30 seconds: %d", got)
	}
	if got := h.call(self+"?ticket="+ticket(), "", ""); got.status != 401 {
		t.Errorf("a ticket at another route: %d", got.status)
	}
}

func TestBootstrapOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	folder := t.TempDir()
	path := filepath.Join(folder, access.TokenFile)
	read := func() string {
		if err := access.Bootstrap(t.Context(), h.creds, folder); err != nil {
			t.Fatal(err)
		}
		token, err := access.ReadTokenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	token := read()
	if got := h.call(self, token, ""); !strings.Contains(got.body, `"org":"default"`) || !strings.Contains(got.body, `"role":"owner"`) {
		t.Errorf("who the file makes me: %s", got.body)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if read() != token {
		t.Error("the second start made another token")
	}
	if err := h.creds.Revoke(t.Context(), platform.System("default", "test"), strings.Split(token, "_")[1]); err != nil {
		t.Fatal(err)
	}
	if again := read(); again == token || h.call(self, again, "").status != 200 {
		t.Error("a revoked token was not replaced")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := access.Bootstrap(t.Context(), h.creds, folder); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: %v", err)
	}
	if _, err := access.ReadTokenFile(filepath.Join(folder, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzToken: no credential but the one that was made is anybody's, and whatever is
// sent is refused as what it is: not as an internal error.
func FuzzToken(f *testing.F) {
	f.Add("bt_aaaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	f.Add("btj_AAAAAQ.AAAA")
	f.Add("btj_" + strings.Repeat("_", 100) + "." + strings.Repeat("A", 86))
	f.Add("btt_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	f.Fuzz(func(t *testing.T, credential string) {
		h := open(t, everyKind()...)
		for _, request := range []string{self, "POST /runner/v1/finish", "POST /runner/v1/hello"} {
			if got := h.call(request, credential, ""); got.status != 401 {
				t.Errorf("%s %q: %d %s", request, credential, got.status, got.body)
			}
		}
	})
}
