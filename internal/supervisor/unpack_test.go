package supervisor

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// archive makes a tar.gz of entries; texts are those of files, by name.
func archive(t testing.TB, texts map[string]string, headers ...tar.Header) []byte {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	out := tar.NewWriter(zip)
	for _, h := range headers {
		text := texts[h.Name]
		if h.Typeflag == tar.TypeReg && h.Size == 0 {
			h.Size = int64(len(text))
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		if err := out.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(out, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// unpackInto unpacks into a folder beside which nothing may appear.
func unpackInto(t testing.TB, packed []byte, limits Limits) (dir string, err error) {
	t.Helper()
	outside := t.TempDir()
	dir = filepath.Join(outside, "in")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Unpack(root, bytes.NewReader(packed), limits)
	if closeErr := root.Close(); closeErr != nil {
		t.Fatal(closeErr)
	}
	entries, readErr := os.ReadDir(outside)
	if readErr != nil || len(entries) != 1 {
		t.Fatalf("outside there is %v, %v", entries, readErr)
	}
	return dir, err
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	packed := archive(t, map[string]string{"a/b.txt": "text", "run.sh": "#!/bin/sh"},
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "4711"}},
		tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "a/b.txt", Typeflag: tar.TypeReg},
		tar.Header{Name: "run.sh", Typeflag: tar.TypeReg, Mode: 0o4755},
		tar.Header{Name: "a/link", Typeflag: tar.TypeSymlink, Linkname: "../run.sh"},
		tar.Header{Name: "a/hard", Typeflag: tar.TypeLink, Linkname: "a/b.txt"},
		tar.Header{Name: "dangling", Typeflag: tar.TypeSymlink, Linkname: "not/here"},
	)
	dir, err := unpackInto(t, packed, SourceLimits)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a/b.txt": "text", "a/link": "#!/bin/sh", "a/hard": "text"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "run.sh")); err != nil || info.Mode() != 0o755 {
		t.Errorf("run.sh has mode %v, %v: setuid is cleared", info.Mode(), err)
	}
}

// T41: the classic payloads write nothing outside, and are refused in words.
func TestHostileArchives(t *testing.T) {
	t.Parallel()
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	for name, headers := range map[string][]tar.Header{
		"dot dot":                    {file("../evil")},
		"absolute":                   {file("/tmp/evil-4711")},
		"link out, then through it":  {link("x", ".."), file("x/evil")},
		"absolute link":              {link("x", "/etc/passwd")},
		"dangling link out":          {link("a/x", "../../nowhere")},
		"link to link out":           {link("s", "."), link("s/x", ".."), file("s/x/evil")},
		"dot dot behind a name":      {link("d", "a/b"), link("x", "d/../../..")},
		"hard link out":              {{Name: "x", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}},
		"hard link through a link":   {link("d", "sub"), {Name: "x", Typeflag: tar.TypeLink, Linkname: "d/y"}},
		"device":                     {{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		"pipe":                       {{Name: "pipe", Typeflag: tar.TypeFifo}},
		"file and folder":            {file("a"), file("a/b")},
		"folder becomes a link":      {{Name: "a/", Typeflag: tar.TypeDir}, link("a", "b")},
		"below a link":               {link("a", "b"), {Name: "b/", Typeflag: tar.TypeDir}, file("a/c")},
		"file over itself as folder": {{Name: "./", Typeflag: tar.TypeDir}, file(".")},
		"deep":                       {file(strings.Repeat("d/", 300) + "x")},
		"long":                       {file(strings.Repeat("x", 5000))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := unpackInto(t, archive(t, map[string]string{"../evil": "evil", "x/evil": "evil"}, headers...), SourceLimits)
			var refused *ArchiveError
			if !errors.As(err, &refused) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// T42: caps on bytes, entries and ratio.
func TestArchiveBombs(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("\x00", 8<<20)
	bomb := archive(t, map[string]string{"a": zeros}, tar.Header{Name: "a", Typeflag: tar.TypeReg})
	for name, tt := range map[string]struct {
		packed []byte
		limits Limits
		words  string
	}{
		"ratio":     {bomb, SourceLimits, "200 times"},
		"bytes":     {archive(t, map[string]string{"a": "12345", "b": "6"}, tar.Header{Name: "a", Typeflag: tar.TypeReg}, tar.Header{Name: "b", Typeflag: tar.TypeReg}), Limits{Bytes: 5, Files: 9, Ratio: 200}, "5 bytes"},
		"entries":   {archive(t, nil, tar.Header{Name: "a", Typeflag: tar.TypeReg}, tar.Header{Name: "b", Typeflag: tar.TypeReg}), Limits{Bytes: 5, Files: 1, Ratio: 200}, "1 entries"},
		"truncated": {bomb[:len(bomb)/2], Limits{Bytes: 1 << 30, Files: 9, Ratio: 1 << 20}, "cannot be read"},
		"no gzip":   {[]byte("PK"), SourceLimits, "no gzip"},
	} {
		if _, err := unpackInto(t, tt.packed, tt.limits); err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	exact := archive(t, map[string]string{"a": "12345"}, tar.Header{Name: "a", Typeflag: tar.TypeReg})
	if _, err := unpackInto(t, exact, Limits{Bytes: 5, Files: 1, Ratio: 200}); err != nil {
		t.Errorf("exactly the cap: %v", err)
	}
}

// FuzzUnpack: no archive writes outside, makes what is no file, or a link that leads out.
func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, map[string]string{"a/b": "x"}, tar.Header{Name: "a/b", Typeflag: tar.TypeReg},
		tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a/b"}, tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "a/b"}))
	f.Fuzz(func(t *testing.T, packed []byte) {
		checkUnpacked(t, packed)
	})
}

// FuzzUnpackNames: the same, for archives that are whole and have hostile names.
func FuzzUnpackNames(f *testing.F) {
	f.Add("s", ".", "s/x", "../y", "s/x/evil")
	f.Fuzz(func(t *testing.T, link1, target1, link2, target2, name string) {
		var packed bytes.Buffer
		zip := gzip.NewWriter(&packed)
		out := tar.NewWriter(zip)
		for _, h := range []tar.Header{
			{Name: link1, Typeflag: tar.TypeSymlink, Linkname: target1, Mode: 0o777},
			{Name: link2, Typeflag: tar.TypeSymlink, Linkname: target2, Mode: 0o777},
			{Name: name, Typeflag: tar.TypeReg, Mode: 0o644},
		} {
			if out.WriteHeader(&h) != nil {
				t.Skip()
			}
		}
		if out.Close() != nil || zip.Close() != nil {
			t.Skip()
		}
		checkUnpacked(t, packed.Bytes())
	})
}

func checkUnpacked(t *testing.T, packed []byte) {
	dir, err := unpackInto(t, packed, Limits{Bytes: 1 << 20, Files: 100, Ratio: 200})
	if err != nil {
		t.Log(err)
	}
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type().IsRegular() {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil {
			t.Errorf("%s is a %v", path, d.Type())
			return nil
		}
		if resolved, err := filepath.EvalSymlinks(path); err == nil && resolved != dir && !strings.HasPrefix(resolved, dir+"/") {
			t.Errorf("%s leads to %s", path, target)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
