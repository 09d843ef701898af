package access_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/problem"
)

type order struct {
	Name   string            `json:"name"`
	Count  int               `json:"count"`
	Params map[string]string `json:"params"`
	Parts  []struct {
		Path string `json:"path"`
	} `json:"parts"`
}

func decode(body string) (order, error) {
	return access.Decode[order](httptest.NewRequest("POST", "/", strings.NewReader(body)))
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct{ field, help, detail string }{
		`{"nmae":"x"}`:                     {"nmae", `Did you mean "name"?`, "nmae"},
		`{"Name":"x"}`:                     {"Name", `Did you mean "name"?`, "Name"},
		`{"qqqqqq":1}`:                     {"qqqqqq", "The fields are count, name, params, parts.", "qqqqqq"},
		`{"parts":[{},{"pth":"x"}]}`:       {"parts[1].pth", `Did you mean "path"?`, "parts[1].pth"},
		`{"count":"three"}`:                {"count", "", "count must be a number, not string."},
		`{"parts":{}}`:                     {"parts", "", "parts must be a list, not object."},
		`[]`:                               {"", "", "The body must be an object, not array."},
		``:                                 {"", "", "The body is empty"},
		`{"name":"x"`:                      {"", "", "not JSON"},
		`{"name":"x"} {}`:                  {"", "", "Something follows"},
		"{\"name\":\"\xff\"}":              {"", "", "UTF-8"},
		`{"name":"x","name2":1,"nam3":2}`:  {"nam3", `Did you mean "name"?`, "nam3"},
		`{"params":{"any name":"is good"}`: {"", "", "not JSON"},
	} {
		_, err := decode(body)
		var p *problem.Error
		if !errors.As(err, &p) || p.Kind != problem.Invalid || !strings.Contains(p.Detail, want.detail) {
			t.Errorf("%s: %v, want %q", body, err, want.detail)
			continue
		}
		if want.field != "" && (len(p.At) == 0 || p.At[0].Field != want.field || p.At[0].Help != want.help) {
			t.Errorf("%s: at %+v", body, p.At)
		}
	}
	if _, err := decode(`{"name2":1,"nam3":2}`); len(err.(*problem.Error).At) != 2 { //nolint:errorlint // the type is under test
		t.Errorf("every mistake at once: %+v", err)
	}
	got, err := decode(`{"name":"x","params":{"any name":"is good"},"parts":[{"path":"p"}]}`)
	if err != nil || got.Params["any name"] != "is good" || got.Parts[0].Path != "p" {
		t.Errorf("%+v %v", got, err)
	}
}

// FuzzDecode: what is accepted means the same when it is written and read again,
// and what is refused is the sender's mistake, in valid UTF-8.
func FuzzDecode(f *testing.F) {
	f.Add(`{"name":"x","count":1,"params":{"a":"b"},"parts":[{"path":"p"}]}`)
	f.Add(`{"nmae":[[[[{"a":{}}]]]]}`)
	f.Add("{\"\xff\":1}")
	f.Fuzz(func(t *testing.T, body string) {
		got, err := decode(body)
		if err != nil {
			var p *problem.Error
			if !errors.As(err, &p) || p.Kind.Status >= 500 || !utf8.ValidString(p.Detail) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(string(text))
		twice, errTwice := json.Marshal(again)
		if err != nil || errTwice != nil || string(twice) != string(text) {
			t.Errorf("%s became %s (%v %v)", text, twice, err, errTwice)
		}
	})
}

// FuzzWindow: a window is within its bounds, or it is refused as invalid; a cursor
// that we made comes back as it was.
func FuzzWindow(f *testing.F) {
	f.Add("10", "abc", "cursor")
	f.Add("-1", "====", "\x00\xff")
	f.Add("99999999999999999999", strings.Repeat("A", 9000), "")
	f.Fuzz(func(t *testing.T, limit, cursor, ours string) {
		r := httptest.NewRequest("GET", "/", nil)
		query := r.URL.Query()
		query.Set("limit", limit)
		query.Set("cursor", cursor)
		r.URL.RawQuery = query.Encode()
		w, err := access.ParseWindow(r)
		if err != nil && !problem.Is(err, problem.Invalid) {
			t.Errorf("refused with %v", err)
		}
		if err == nil && (w.Limit < 1 || w.Limit > access.MaxLimit || len(w.Cursor) > len(cursor)) {
			t.Errorf("%q %q: %+v", limit, cursor, w)
		}
		r.URL.RawQuery = "cursor=" + access.NewPage([]int{}, ours).Next
		if w, err := access.ParseWindow(r); len(ours) < 3000 && (err != nil || w.Cursor != ours) {
			t.Errorf("%q came back as %q, %v", ours, w.Cursor, err)
		}
	})
}
