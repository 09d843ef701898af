package git_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

// node is an entry of a tree that git itself would not make.
type node struct {
	mode, name string
	content    string // of a file or link
	children   []node
	hash       string // of a submodule
}

// plant writes objects straight into a bare repository and points main at them.
func plant(t *testing.T, w *gittest.Tree, nodes []node) git.CommitSHA {
	t.Helper()
	tree := plantTree(t, w.Bare, nodes)
	commit := plantObject(t, w.Bare, "commit", []byte("tree "+tree+"\nauthor A <a@example.com> 1767322000 +0000\ncommitter A <a@example.com> 1767322000 +0000\n\nhostile\n"))
	w.Git("-C", w.Bare, "update-ref", "refs/heads/main", commit)
	return git.CommitSHA(commit)
}

func plantTree(t *testing.T, bare string, nodes []node) string {
	var data bytes.Buffer
	for _, n := range nodes {
		hash := n.hash
		switch {
		case n.children != nil:
			hash = plantTree(t, bare, n.children)
		case hash == "":
			hash = plantObject(t, bare, "blob", []byte(n.content))
		}
		raw, err := hex.DecodeString(hash)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&data, "%s %s\x00%s", n.mode, n.name, raw)
	}
	return plantObject(t, bare, "tree", data.Bytes())
}

func plantObject(t *testing.T, bare, kind string, data []byte) string {
	t.Helper()
	full := append(fmt.Appendf(nil, "%s %d\x00", kind, len(data)), data...)
	sum := sha1.Sum(full)
	name := hex.EncodeToString(sum[:])
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := z.Write(full); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(bare, "objects", name[:2], name[2:])
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// T23: whatever a tree holds, no file of it lands outside the root: its names are
// refused with the name and the reason, its links out are files.
func TestHostileTrees(t *testing.T) {
	server := gittest.Start(t, gittest.Options{})
	c := client(t, git.Limits{})
	file := func(name string) node { return node{mode: "100644", name: name, content: "evil"} }
	folder := func(name string, children ...node) node {
		return node{mode: "40000", name: name, children: children}
	}
	for i, nodes := range [][]node{
		{folder(".git", file("config"))},
		{folder(".GIT", file("config"))},
		{folder(".Git ", file("config"))},
		{folder(".git.", file("config"))},
		{folder("git~1", file("config"))},
		{folder("GIT~1", file("config"))},
		{folder(".git::$INDEX_ALLOCATION", file("config"))},
		{folder(".git:stream", file("config"))},
		{folder(".g\u200cit", file("config"))},
		{folder("\ufeff.git", file("config"))},
		{folder("sub", folder(".git", file("hooks")))},
		{folder("..", file("outside"))},
		{folder(".", file("outside"))},
		{file("../outside")},
		{file("/etc/passwd")},
		{file(`..\outside`)},
		{file("twice"), file("twice")},
		{{mode: "120000", name: "a", content: "/tmp"}, folder("A", file("b"))},
		{folder("a", file("b")), {mode: "120000", name: "A", content: "x"}},
		{folder("a", file("b")), {mode: "120000", name: "a", content: "x"}},
		{file(strings.Repeat("n", 2000))},
	} {
		w := server.New(t, fmt.Sprintf("hostile%d", i))
		commit := plant(t, w, nodes)
		clone := fetch(t, ask(t, c, w.URL), git.Want{Commit: commit, Depth: 1})
		_, err := clone.Tree(t.Context(), commit)
		if !problem.Is(err, problem.Invalid) {
			t.Errorf("%q: %v", nodes[len(nodes)-1].name, err)
		}
	}
}

func TestLinksOutAndSubmodulesAreHarmless(t *testing.T) {
	server := gittest.Start(t, gittest.Options{})
	w := server.New(t, "links")
	nodes := []node{
		{mode: "100644", name: ".gitmodules", content: "[submodule \"x\"]\n\tpath = sub\n\turl = -u./payload\n"},
		{mode: "100644", name: "Makefile", content: "1"},
		{mode: "120000", name: "abs", content: "/etc"},
		{mode: "120000", name: "dotgit", content: ".git/hooks"},
		{mode: "120000", name: "in", content: "Makefile"},
		{mode: "100644", name: "makefile", content: "2"},
		{mode: "160000", name: "sub", hash: strings.Repeat("1", 40)},
		{mode: "120000", name: "up", content: "../../outside"},
	}
	commit := plant(t, w, nodes)
	clone := fetch(t, ask(t, client(t, git.Limits{}), w.URL), git.Want{Commit: commit, Depth: 1})
	tree, err := clone.Tree(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Notices) != 4 {
		t.Errorf("notices %q", tree.Notices)
	}
	dir := unpack(t, bundle(t, clone, commit, 1))
	for name, want := range map[string]string{"abs": "/etc", "up": "../../outside", "dotgit": ".git/hooks", "in": "1", "makefile": "2"} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want || (info.Mode()&os.ModeSymlink != 0) != (name == "in") {
			t.Errorf("%s: %q %v %v", name, got, info.Mode(), err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "sub")); err != nil || len(entries) != 0 {
		t.Errorf("submodule: %v %v", entries, err)
	}
	if _, err := tree.FS().Open("in"); err == nil {
		t.Error("the view of the tree follows links")
	}
}

// A remote's ref that is no valid name is never asked for, nor listed.
func TestHostileRefsAreLeftOut(t *testing.T) {
	w := gittest.Start(t, gittest.Options{}).New(t, "refs")
	head := w.Commit("one", "a", "1")
	w.Push()
	packed := "# pack-refs with: peeled fully-peeled sorted \n" + head + " refs/heads/fine\n" + head + " refs/heads/-u./x\n" + head + " refs/pull/7/head\n" + head + " refs/pull/7/merge\n"
	if err := os.WriteFile(filepath.Join(w.Bare, "packed-refs"), []byte(packed), 0o644); err != nil {
		t.Fatal(err)
	}
	remote := ask(t, client(t, git.Limits{}), w.URL)
	if got := fmt.Sprint(remote.Refs()); got != "[refs/heads/fine refs/heads/main refs/pull/7/head]" {
		t.Errorf("refs %s, %d skipped", got, remote.Skipped())
	}
}

func redirect(t *testing.T, to string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusFound)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// serve answers one request for refs and one for a pack, whatever is asked.
func serve(t *testing.T, refs func(w http.ResponseWriter), pack []byte) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			line(w, "# service=git-upload-pack\n")
			if _, err := w.Write([]byte("0000")); err != nil {
				return
			}
			refs(w)
			return
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		line(w, "NAK\n")
		if _, err := w.Write(pack); err != nil {
			t.Log(err) // the client hung up, as it may
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/evil.git"
}

func line(w http.ResponseWriter, text string) bool {
	_, err := fmt.Fprintf(w, "%04x%s", len(text)+4, text)
	return err == nil
}

const evil = "1111111111111111111111111111111111111111"

func oneRef(w http.ResponseWriter) {
	line(w, evil+" HEAD\x00ofs-delta symref=HEAD:refs/heads/main\n")
	line(w, evil+" refs/heads/main\n")
	if _, err := w.Write([]byte("0000")); err != nil {
		return
	}
}

// T23: a million refs, and a pack whose few bytes claim gigabytes, end soon and
// with a clear problem.
func TestBombs(t *testing.T) {
	millionRefs := func(w http.ResponseWriter) {
		line(w, evil+" HEAD\x00ofs-delta\n")
		for i := range 1_000_000 {
			if !line(w, fmt.Sprintf("%s refs/heads/branch-%d\n", evil, i)) {
				return
			}
		}
	}
	start := time.Now()
	at, err := git.ParseURL(serve(t, millionRefs, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, git.Limits{}).Ask(t.Context(), at, git.Credential{}); !problem.Is(err, problem.TooLarge) {
		t.Errorf("a million refs: %v", err)
	}
	for name, pack := range map[string][]byte{
		"a delta that claims 64 GB":  packOf(object(3, []byte("base")), delta([]byte("base"), 64<<30)),
		"a file of 1 GB":             packOf(zeros(1 << 30)),
		"more objects than bytes":    binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), 1<<31),
		"a size that lies":           packOf(header(3, 10), deflated(make([]byte, 1000))),
		"no pack":                    []byte("hello"),
		"a delta of nothing":         packOf(delta(nil, 4)),
		"a type that does not exist": packOf(object(5, []byte("x"))),
		"an offset before the first": packOf(append(header(6, 3), 0x7f, 0), deflated([]byte{1, 1, 0})),
		"200 deltas, 100 MB each":    packOf(append([][]byte{object(3, bytes.Repeat([]byte("x"), 100<<10))}, bombs(200)...)...),
	} {
		remote := ask(t, client(t, git.Limits{}), serve(t, oneRef, pack))
		clone, err := remote.Fetch(t.Context(), git.Want{Commit: evil, Depth: 1})
		if !problem.Is(err, problem.TooLarge) && !problem.Is(err, problem.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if clone != nil {
			t.Errorf("%s: a clone", name)
		}
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

func packOf(objects ...[]byte) []byte {
	pack := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(objects)))
	pack = append(pack, bytes.Join(objects, nil)...)
	sum := sha1.Sum(pack)
	return append(pack, sum[:]...)
}

func header(kind byte, size uint64) []byte {
	head := []byte{kind<<4 | byte(size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		head[len(head)-1] |= 0x80
		head = append(head, byte(size&0x7f))
	}
	return head
}

func deflated(data []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, err := z.Write(data)
	if closeErr := z.Close(); err != nil || closeErr != nil {
		panic("a buffer takes everything")
	}
	return out.Bytes()
}

func object(kind byte, data []byte) []byte {
	return append(header(kind, uint64(len(data))), deflated(data)...)
}

func zeros(n int) []byte { return object(3, make([]byte, n)) }

// delta is a REF_DELTA on a blob that says that its result has size bytes.
func delta(base []byte, size uint64) []byte {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(base)), base...))
	data := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(base))), size)
	data = append(data, 0x90, 1) // copy one byte of the base
	return append(append(header(7, uint64(len(data))), sum[:]...), deflated(data)...)
}

// bombs are deltas on 100 KB of x that copy it a thousand times over.
func bombs(n int) [][]byte {
	base := bytes.Repeat([]byte("x"), 100<<10)
	var all [][]byte
	for i := range n {
		all = append(all, delta(base, uint64(100<<20-i)))
	}
	return all
}

// FuzzRef: a name that is accepted is one to git too, and never an option.
func FuzzRef(f *testing.F) {
	for _, name := range []string{"refs/heads/main", "refs/heads/a..b", "refs/tags/v1.lock", "refs/heads/-x", "refs/heads/@", "refs/heads/ü", "refs/heads/a@{b", "refs/heads/.a", "../../x"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		ref, err := git.ParseRef(name)
		if err != nil {
			return
		}
		if strings.HasPrefix(ref.Branch(), "-") || strings.HasPrefix(name, "-") || strings.Contains(name, "..") {
			t.Fatalf("%q", name)
		}
		if out, err := exec.Command("git", "check-ref-format", name).CombinedOutput(); err != nil {
			t.Fatalf("git refuses %q: %v %s", name, err, out)
		}
	})
}

// FuzzURL: what is accepted is an absolute http or file URL without a credential,
// of which no part is an option; reading it again changes nothing.
func FuzzURL(f *testing.F) {
	for _, text := range []string{"https://example.com/a/b.git", "file:///srv/x.git", "git@host:a/b", "ssh://h/x", "https://u:p@h/x", "https://h/-x", "https://h/%2e%2e/x", "http://h:80//a//b/", "ext::sh -c x", "-u./x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := git.ParseURL(text)
		if err != nil {
			return
		}
		again, err := git.ParseURL(string(at))
		if err != nil || again != at {
			t.Fatalf("%q became %q, then %q %v", text, at, again, err)
		}
		if strings.HasPrefix(string(at), "-") || strings.Contains(string(at), "/-") || strings.Contains(string(at), "/../") || strings.Contains(strings.SplitN(string(at), "/", 4)[2], "@") {
			t.Fatalf("%q became %q", text, at)
		}
	})
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"https://Example.com/a/b.git":     "https://example.com/a/b.git",
		"http://127.0.0.1:8090/shop.git/": "http://127.0.0.1:8090/shop.git",
		"file:///srv/git/shop.git":        "file:///srv/git/shop.git",
		"git@github.com:a/b.git":          "ssh is not supported yet",
		"ssh://git@github.com/a/b.git":    "ssh is not supported yet",
		"https://me:secret@example.com/a": "Leave user and password out",
		"ext::sh -c evil":                 "blanks",
		"ext::evil":                       "ssh is not supported yet",
		"ftp://example.com/a":             "https, http or file",
		"https://example.com/":            "names no repository",
		"https://example.com/-u./x":       "names no repository",
		"https://example.com/a?x=1":       "has no ?",
		"file://host/a":                   "three slashes",
		"/srv/git/shop.git":               "https, http or file",
		"":                                "https, http or file",
	} {
		at, err := git.ParseURL(text)
		got := string(at)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if git.RepoURL("https://example.com/a/b.git").FullName() != "a/b" {
		t.Error("the full name")
	}
}

func TestRefs(t *testing.T) {
	for name, ok := range map[string]bool{
		"refs/heads/main": true, "refs/heads/a/b": true, "refs/heads/ünï": true, "refs/heads/@": true,
		"main": false, "refs/heads/": false, "refs/heads": false, "refs/heads/a..b": false, "refs/heads/a b": false, "refs/heads/a~1": false,
		"refs/heads/a.lock": false, "refs/heads/a.lock/b": false, "refs/heads/.a": false, "refs/heads/a.": false, "refs/heads//a": false,
		"refs/heads/-a": false, "refs/heads/a@{1}": false, "refs/heads/a\\b": false, "refs/heads/a\nb": false, "refs/heads/../../x": false,
	} {
		if _, err := git.ParseRef(name); (err == nil) != ok {
			t.Errorf("%q: %v, want valid %v", name, err, ok)
		}
	}
	for name, want := range map[git.Ref]int{"refs/pull/12/head": 12, "refs/merge-requests/3/head": 3, "refs/pull/12/merge": 0, "refs/pull/x/head": 0, "refs/pull/012/head": 0, "refs/heads/1": 0, "refs/pull/-1/head": 0} {
		if got := name.PullRequest(); got != want {
			t.Errorf("%s: %d", name, got)
		}
	}
}
