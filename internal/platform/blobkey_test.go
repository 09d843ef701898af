package platform_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/platform"
)

// FuzzBlobKey: whatever a branch, an artifact or a webhook puts into a key, it stays
// in its organization and in its segment, different parts never make the same key,
// and every key is one that S3 can store and list.
func FuzzBlobKey(f *testing.F) {
	f.Add("a/b", "c", "a", "b/c")
	f.Add("", "..", ".", "%")
	f.Add("%2F", "\x00", "/", "\xff")
	f.Add("%2E%2E", "x", "..", "x")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		acme := platform.System("acme", "fuzz")
		one, two := acme.Blob("log", a, b), acme.Blob("log", c, d)
		if same := a == c && b == d; same != (one == two) {
			t.Errorf("(%q, %q), (%q, %q): same parts %v, same key %v", a, b, c, d, same, one == two)
		}
		segments := strings.Split(one.String(), "/")
		if len(segments) != 4 || segments[0] != "acme" || segments[1] != "log" {
			t.Errorf("(%q, %q) left its segments: %q", a, b, one)
		}
		if slices.Contains(segments, "") || slices.Contains(segments, ".") || slices.Contains(segments, "..") {
			t.Errorf("(%q, %q) makes a path that resolves: %q", a, b, one)
		}
		if !utf8.ValidString(one.String()) || strings.ContainsFunc(one.String(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("(%q, %q) makes a key that S3 cannot list: %q", a, b, one)
		}
	})
}
