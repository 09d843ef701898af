package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// becomes filters texts, each in a stream of its own.
func becomes(t *testing.T, set *Set, texts map[string]string) {
	t.Helper()
	for text, want := range texts {
		if got := through(t, set, text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// through writes text in pieces that end at cuts, and answers what comes out.
func through(t testing.TB, set *Set, text string, cuts ...int) string {
	t.Helper()
	var out bytes.Buffer
	f := NewFilter(set, &out)
	last := 0
	for _, cut := range append(cuts, len(text)) {
		if _, err := f.Write([]byte(text[last:cut])); err != nil {
			t.Fatal(err)
		}
		last = cut
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestSecretSplitAtEveryByte(t *testing.T) {
	t.Parallel()
	set := Compile("hunter2-4711", "correct horse")
	text := "a hunter2-4711 b\ncorrect correct horse hunter2-47hunter2-4711."
	const want = "a *** b\ncorrect *** hunter2-47***."
	for i := range len(text) {
		for j := i; j < len(text); j += 7 {
			if got := through(t, set, text, i, j); got != want {
				t.Fatalf("cut at %d and %d: %q", i, j, got)
			}
		}
	}
}

func TestSecretAcrossCommands(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := NewFilter(Compile("hunter2-4711"), &out)
	for _, piece := range []string{"first: hunter2-", "4711 second"} {
		if _, err := f.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.String(); got != "first: *** second" {
		t.Errorf("%q", got)
	}
}

// Nothing but bytes releases what is held: there is no timer to wait for.
func TestPauseNeverReleasesHeldBytes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := NewFilter(Compile("hunter2-4711"), &out)
	for _, piece := range []string{"x hunter2", "", "", "-47"} {
		if _, err := f.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != "x " {
			t.Fatalf("released %q", got)
		}
	}
	if _, err := f.Write([]byte("!")); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "x hunter2-47!" {
		t.Errorf("%q", got)
	}
}

func TestEndOfStream(t *testing.T) {
	t.Parallel()
	set := Compile("hunter2-4711-abcdefgh", "kitten")
	becomes(t, set, map[string]string{
		"x hunter2-": "x ***",           // 8 bytes
		"x hunter2":  "x hunter2",       // 7 bytes of 21
		"x kit":      "x ***",           // half of 6
		"x ki":       "x ki",            // less
		"hunter kit": "hunter ***",      // the shorter end counts too
		"hun\x1b[0m": "hun\x1b[0m",      // looked through, and little
		"kit\x1b[0m": "***",             // looked through, and half
		"kitten":     "***",             //
		"kittenkit":  "******",          //
		"":           "",                //
		"nothing":    "nothing",         //
		"x\x1b[31mk": "x\x1b[31m" + "k", //
	})
}

func TestOverlapsAreMerged(t *testing.T) {
	t.Parallel()
	set := Compile("abcdef", "defghi", "cdef-long-tail", "xyxy")
	becomes(t, set, map[string]string{
		"abcdefghi":        "***",
		"abcdef defghi":    "*** ***",
		"abcdef-long-tai!": "***-long-tai!",
		"abcdef-long-tail": "***",
		"xyxyxyxyxy" + "z": "***z",
		"xyxyxyxxyxy.":     "***x***.",
	})
}

// What never ends overlapping needs no memory.
func TestEndlessOverlapIsNotKept(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := NewFilter(Compile("aaaa"), &out)
	for range 1000 {
		if _, err := f.Write(bytes.Repeat([]byte("a"), 4096)); err != nil {
			t.Fatal(err)
		}
		if len(f.held) > 16 {
			t.Fatalf("%d bytes are held", len(f.held))
		}
	}
	if err := f.Close(); err != nil || out.String() != Mark {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestSecretBase64ThreeAlignments(t *testing.T) {
	t.Parallel()
	const secret = "p@ss/w?rd+öß~1"
	set := Compile(secret)
	for before := range 6 {
		for after := range 4 {
			plain := strings.Repeat("<", before) + secret + strings.Repeat(">", after)
			for name, alphabet := range map[string]*base64.Encoding{"std": base64.StdEncoding, "url": base64.URLEncoding, "raw": base64.RawStdEncoding} {
				got := through(t, set, "x "+alphabet.EncodeToString([]byte(plain))+" y")
				if !strings.Contains(got, Mark) || len(got) > 4+len(Mark)+4+8+before*2+after*2 {
					t.Errorf("%s, %d before, %d after: %q", name, before, after, got)
				}
			}
		}
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	const secret = "it's <a> \"p@ss\"/wörd $1 & more\\"
	set := Compile(secret)
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"plain": secret, "hex": hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"query": url.QueryEscape(secret), "path": url.PathEscape(secret), "lower": lowerEscapes(url.QueryEscape(secret)),
		"ascii": `it's <a> \"p@ss\"/w\u00f6rd $1 & more\\`,
		"json":  strings.Trim(string(quoted), `"`), "shell": strings.ReplaceAll(secret, "'", `'\''`),
		"double": `it's <a> \"p@ss\"/wörd \$1 & more\\`, "%q": `it\'s\ \<a\>\ \"p@ss\"/wörd\ \$1\ \&\ more\\`,
	} {
		if got := through(t, set, "x "+text+" y"); got != "x *** y" {
			t.Errorf("%s: %q became %q", name, text, got)
		}
	}
}

// A needle inside the beginning of a longer one must not let go of what stands
// before it: the bytes to come may make the longer one whole.
func TestNeedleInsideALongerOne(t *testing.T) {
	t.Parallel()
	set := Compile("abcdef-4711", "cdef", " padded ")
	for text, want := range map[string]string{
		"x abcdef-4711 y": "x *** y",
		"x abcdef y":      "x ab*** y",
		"x padded y":      "x***y",
	} {
		for cut := range len(text) + 1 {
			if got := through(t, set, text, cut); got != want {
				t.Errorf("%q cut at %d became %q, want %q", text, cut, got, want)
			}
		}
	}
}

// TestPasswordOfURL: a tool that connects prints the password without its URL.
func TestPasswordOfURL(t *testing.T) {
	t.Parallel()
	set := Compile("postgres://bob:hunter2%2Fhunter2@db.example.com/shop")
	becomes(t, set, map[string]string{
		"no entry for hunter2/hunter2!":                           "no entry for ***!",
		"PGPASSWORD=hunter2%2Fhunter2 psql":                       "PGPASSWORD=*** psql",
		"postgres://bob:hunter2%2Fhunter2@db.example.com/shop is": "*** is",
		"bob at db.example.com":                                   "bob at db.example.com",
	})
	if got := through(t, Compile("https://bob:test@example.com"), "a test"); got != "a test" {
		t.Errorf("a password that is a common word was masked: %q", got)
	}
}

// TestBeyondASCII: many encoders of JSON write \u for all that is not ASCII.
func TestBeyondASCII(t *testing.T) {
	t.Parallel()
	if got := through(t, Compile("clé/😀1"), `"cl\u00e9/\ud83d\ude001" "cl\u00e9\/\ud83d\ude001"`); got != `"***" "***"` {
		t.Error(got)
	}
}

func TestMultiLineKeyMaskedLineByLine(t *testing.T) {
	t.Parallel()
	const key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\nBKcwggS\n-----END KEY-----\n"
	set := Compile(key)
	becomes(t, set, map[string]string{
		key + "done": "***done",
		strings.ReplaceAll(key, "\n", "\r\n") + "d": "***d",
		"  MIIEvQIBADANBgkq\n  hkiG9w0BAQEFAASC\n":  "  ***\n  ***\n",
		"BKcwggS\n": "BKcwggS\n", // seven bytes are no needle
	})
}

func TestTerminalSequencesAreLookedThrough(t *testing.T) {
	t.Parallel()
	set := Compile("hunter2-4711")
	for text, want := range map[string]string{
		"x hunter\x1b[1;31m2-4711\x1b[0m y":              "x ***\x1b[0m y",
		"h\x1b[0mu\x1b[0mn\x1b[0mter2-4711":              "***",
		"x hunter\x1b(B\x1b[m2-4711 y":                   "x *** y",
		"x hunter\x1b]8;;http://a.example\x1b\\2-4711 y": "x *** y",
		"x hunter\x1b]0;title\a2-4711 y":                 "x *** y",
		"\x1b[31mhunter2-4711":                           "\x1b[31m***",
		"\x1b[hunter2-4711":                              "\x1b[***", // the bytes as they are count as well
		"x hunter\x1b[1m2-47! y":                         "x hunter\x1b[1m2-47! y",
		"hun\x1b[1mhunter2-4711":                         "hun\x1b[1m***",
	} {
		for cut := range len(text) {
			if got := through(t, set, text, cut); got != want {
				t.Errorf("%q cut at %d became %q, want %q", text, cut, got, want)
			}
		}
	}
}

// Sequences without end do not make the filter hold the log for ever.
func TestEndlessSequencesAreGivenUp(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := NewFilter(Compile("hunter2-4711"), &out)
	text := "hunter" + strings.Repeat("\x1b[0m", 100_000)
	if _, err := f.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if out.Len() < len(text)-16 || len(f.held) > 16 {
		t.Errorf("%d of %d bytes came, %d are held", out.Len(), len(text), len(f.held))
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	for value, refused := range map[string]bool{"": true, "abc": true, "true": true, "True\n": true, "  a  ": true, "abcd": false, "hunter2": false} {
		if got := Refuse(value) != ""; got != refused {
			t.Errorf("Refuse(%q) = %q", value, Refuse(value))
		}
		if text := "x " + value + " y"; refused && through(t, Compile(value), text) != text {
			t.Errorf("%q is refused and masked", value)
		}
	}
}

func TestTextAndIn(t *testing.T) {
	t.Parallel()
	set := Compile("hunter2-4711")
	if got := set.Text("the hunter2-4711, the"); got != "the ***, the" {
		t.Errorf("%q", got)
	}
	if !set.In("a aHVudGVyMi00NzEx") || set.In("hunter2-471") || (*Set)(nil).In("x") || (*Set)(nil).Text("x") != "x" {
		t.Error("In or Text of what holds no needle")
	}
}

// naive is what a filter must do, in the plainest way: every occurrence of every
// needle, overlaps merged, and the rule for the end.
func naive(needles []string, text string) string {
	masked := make([]int, len(text)) // the hit that a byte is in, 0 for none
	var hits []span
	for _, needle := range needles {
		for i := 0; i+len(needle) <= len(text); i++ {
			if text[i:i+len(needle)] == needle {
				hits = append(hits, span{int64(i), int64(i + len(needle))})
			}
		}
		for n := 1; n < len(needle) && n <= len(text); n++ {
			if (n >= 8 || 2*n >= len(needle)) && strings.HasSuffix(text, needle[:n]) {
				hits = append(hits, span{int64(len(text) - n), int64(len(text))})
			}
		}
	}
	slices.SortFunc(hits, func(a, b span) int { return int(a.from - b.from) })
	group, end := 0, int64(-1)
	for _, h := range hits {
		if h.from >= end {
			group++
		}
		end = max(end, h.to)
		for i := h.from; i < h.to; i++ {
			masked[i] = group
		}
	}
	var out strings.Builder
	last := 0
	for i := range len(text) {
		switch {
		case masked[i] == 0:
			out.WriteByte(text[i])
		case masked[i] != last:
			out.WriteString(Mark)
		}
		last = masked[i]
	}
	return out.String()
}

// A filter does what the naive one does, however the stream is cut. The alphabet is
// small so that needles overlap in every way.
func TestFilterIsTheNaiveOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		needles := rapid.SliceOfNDistinct(rapid.StringMatching(`[abc]{4,12}`), 1, 6, rapid.ID).Draw(t, "needles")
		text := rapid.StringMatching(`[abcx]{0,60}`).Draw(t, "text")
		cuts := rapid.SliceOf(rapid.IntRange(0, len(text))).Draw(t, "cuts")
		slices.Sort(cuts)
		set := compile(needles)
		var out bytes.Buffer
		f := NewFilter(set, &out)
		last := 0
		for _, cut := range append(cuts, len(text)) {
			if _, err := f.Write([]byte(text[last:cut])); err != nil {
				t.Fatal(err)
			}
			last = cut
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if want := naive(needles, text); out.String() != want {
			t.Fatalf("needles %q: %q became %q, want %q", needles, text, out.String(), want)
		}
	})
}

// The properties of trust.md 12: no needle in the output whatever the secret, its
// encoding and the cuts; the same output for every cut; equal bytes without a hit.
func TestT36NoNeedleInTheOutput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return r != '*' }), 4, 40, -1).Draw(t, "secret")
		if Refuse(secret) != "" {
			t.Skip(Refuse(secret))
		}
		form := rapid.SampledFrom(needles(secret)).Draw(t, "form")
		before, after := rapid.String().Draw(t, "before"), rapid.String().Draw(t, "after")
		text := before + form + after + form
		cut := rapid.IntRange(0, len(text)).Draw(t, "cut")
		set := Compile(secret)
		got := set.Text(text)
		for _, needle := range needles(secret) {
			if strings.Contains(got, needle) && !strings.Contains(needle, "*") {
				t.Fatalf("%q still holds %q", got, needle)
			}
		}
		var out bytes.Buffer
		f := NewFilter(set, &out)
		for _, piece := range []string{text[:cut], text[cut:]} {
			if _, err := f.Write([]byte(piece)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != got {
			t.Fatalf("cut at %d: %q, whole: %q", cut, out.String(), got)
		}
		if clean := strings.Map(func(rune) rune { return '\u00a0' }, before); !set.In(clean) && !strings.HasPrefix(secret, "\u00a0") && set.Text(clean) != clean {
			t.Fatalf("%q holds no needle and became %q", clean, set.Text(clean))
		}
	})
}

// FuzzFilter: cutting a stream anywhere changes nothing, and no needle gets out.
func FuzzFilter(f *testing.F) {
	f.Add("hunter2-4711", "x hunter2-4711 y", 5, 9)
	f.Add("kitten", "kit\x1b[0mten", 4, 5)
	f.Add("a\x1bbcd", "a\x1bbcda\x1b[1mbcd", 2, 3)
	f.Fuzz(func(t *testing.T, secret, text string, i, j int) {
		if Refuse(secret) != "" || len(secret) > 1000 {
			t.Skip()
		}
		set := Compile(secret)
		i, j = min(max(i, 0), len(text)), min(max(j, 0), len(text))
		whole := through(t, set, text)
		if cut := through(t, set, text, min(i, j), max(i, j)); cut != whole {
			t.Errorf("cut at %d and %d: %q, whole: %q", i, j, cut, whole)
		}
		if !strings.Contains(secret, "*") && strings.Contains(whole, secret) {
			t.Errorf("%q is in %q", secret, whole)
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	letters := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	word := func(n int) string {
		text := make([]byte, n)
		for i := range text {
			text[i] = letters[random.IntN(len(letters))]
		}
		return string(text)
	}
	var secrets []string
	for range 200 {
		secrets = append(secrets, word(24))
	}
	var log bytes.Buffer
	for i := 0; log.Len() < 4<<20; i++ {
		fmt.Fprintf(&log, "2026-03-01T12:00:%02d INFO module/%s: compiled %s in %d ms (\x1b[32mok\x1b[0m)\n", i%60, word(6), word(10), i%977)
	}
	hits := bytes.Clone(log.Bytes())
	for i := 0; i+100 < len(hits); i += 4096 {
		copy(hits[i:], secrets[i%200])
	}
	for _, bench := range []struct {
		name string
		set  *Set
		text []byte
	}{
		{"no secrets", nil, log.Bytes()},
		{"1 secret", Compile(secrets[0]), log.Bytes()},
		{"20 secrets", Compile(secrets[:20]...), log.Bytes()},
		{"200 secrets", Compile(secrets...), log.Bytes()},
		{"200 secrets, hits", Compile(secrets...), hits},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.text)))
			f := NewFilter(bench.set, discard{})
			for b.Loop() {
				for at := 0; at < len(bench.text); at += 32 << 10 {
					if _, err := f.Write(bench.text[at:min(at+32<<10, len(bench.text))]); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
