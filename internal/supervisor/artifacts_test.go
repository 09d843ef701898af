package supervisor

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestArtifactTravels(t *testing.T) {
	t.Parallel()
	maker := &home{job: jobOf(t, `mkdir -p dist/sub; echo one > dist/a; echo one > dist/sub/same; echo two > dist/z.tmp
printf '#!/bin/sh\necho ran' > dist/run; chmod +x dist/run; ln -s a dist/link; ln -s ../a dist/sub/up; mkdir .git; echo x > .git/config`)}
	maker.job.Artifacts = []ArtifactUse{
		{Name: "dist", Paths: []string{"dist", "**/*.md"}, Exclude: []string{"**/*.tmp"}},
		{Name: "all", Paths: []string{"**"}},
	}
	result := maker.run(t)
	want(t, maker, result, ReasonOK)
	dist := result.Artifacts[0]
	manifest, err := ParseManifest(maker.objects[dist.Manifest.SHA256])
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range manifest.Files {
		paths = append(paths, f.Path)
	}
	if want := []string{"dist/a", "dist/link", "dist/run", "dist/sub/same", "dist/sub/up"}; !slices.Equal(paths, want) {
		t.Errorf("paths %v", paths)
	}
	if strings.Contains(string(maker.objects[result.Artifacts[1].Manifest.SHA256]), ".git") {
		t.Error("** takes .git")
	}
	taker := &home{job: jobOf(t, `cd "$ARTIFACT_DIST"; test "$(cat dist/a)" = one; test "$(cat dist/sub/up)" = one; dist/run; test -L dist/link`), objects: maker.objects}
	taker.job.Fetches = []Fetch{{Name: "dist", Manifest: dist.Manifest, To: "in/here"}}
	want(t, taker, taker.run(t), ReasonOK)
	if !strings.Contains(taker.text(), "ran") {
		t.Errorf("log %q", taker.text())
	}
}

func TestSameBlobSentOnce(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "echo same > a; echo same > b; echo known > c")}
	h.put([]byte("known\n"))
	h.job.Artifacts = []ArtifactUse{{Name: "x", Paths: []string{"?"}}}
	want(t, h, h.run(t), ReasonOK)
	blobs := 0
	for _, o := range h.sent {
		if o.Kind == "blob" {
			blobs++
		}
	}
	if blobs != 1 {
		t.Errorf("%d blobs were sent: %+v", blobs, h.sent)
	}
}

func TestArtifactReasons(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		script string
		use    ArtifactUse
		reason string
		made   int
	}{
		"EmptyGlobFails":             {"true", ArtifactUse{Paths: []string{"no/*"}}, ReasonArtifactMissing, 0},
		"optional":                   {"true", ArtifactUse{Paths: []string{"no/*"}, Optional: true}, ReasonOK, 0},
		"LinkOutOfWorkspaceRefused":  {"ln -s /etc/passwd x", ArtifactUse{Paths: []string{"x"}}, ReasonArtifactInvalid, 0},
		"pipe":                       {"mkfifo x", ArtifactUse{Paths: []string{"x"}}, ReasonArtifactInvalid, 0},
		"setuid":                     {"touch x; chmod 4755 x", ArtifactUse{Paths: []string{"x"}}, ReasonArtifactInvalid, 0},
		"bad pattern":                {"touch x", ArtifactUse{Paths: []string{"[x"}}, ReasonArtifactInvalid, 0},
		"value":                      {"echo V=1.2 >> $BUILDIT_ENV", ArtifactUse{Value: "shop:$V-${BASE}"}, ReasonOK, 1},
		"empty value":                {"true", ArtifactUse{Value: "$NOTHING"}, ReasonArtifactEmpty, 0},
		"long value":                 {"true", ArtifactUse{Value: strings.Repeat("x", 5000)}, ReasonArtifactInvalid, 0},
		"secret value":               {"true", ArtifactUse{Value: "x-$TOKEN"}, ReasonArtifactInvalid, 0},
		"failed, wanted on success":  {"touch x; exit 3", ArtifactUse{Paths: []string{"x"}, On: "succeeded"}, ReasonExit, 0},
		"failed, wanted on failure":  {"touch x; exit 3", ArtifactUse{Paths: []string{"x"}, On: "failed"}, ReasonExit, 1},
		"failed, wanted always":      {"touch x; exit 3", ArtifactUse{Paths: []string{"x"}, On: "finished"}, ReasonExit, 1},
		"success, wanted on failure": {"touch x", ArtifactUse{Paths: []string{"x"}, On: "failed"}, ReasonOK, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &home{job: jobOf(t, tt.script), secrets: map[string]string{"token": "hunter2-4711"}}
			h.job.Env["BASE"] = "base"
			h.job.Secrets = []SecretUse{{Name: "token", As: "TOKEN"}}
			tt.use.Name = "x"
			h.job.Artifacts = []ArtifactUse{tt.use}
			result := h.run(t)
			want(t, h, result, tt.reason)
			if len(result.Artifacts) != tt.made {
				t.Errorf("artifacts %+v", result.Artifacts)
			}
			if tt.use.Value == "shop:$V-${BASE}" && result.Artifacts[0].Value != "shop:1.2-base" {
				t.Errorf("value %q", result.Artifacts[0].Value)
			}
			if strings.Contains(result.Detail, "hunter2") {
				t.Errorf("detail %q", result.Detail)
			}
		})
	}
}

func TestUploadFailures(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "touch x")}
	h.job.Artifacts = []ArtifactUse{{Name: "x", Paths: []string{"x"}}}
	h.refuse = func(call string) error {
		if call == "upload" {
			return errors.New("the store is on fire")
		}
		return nil
	}
	want(t, h, h.run(t), ReasonUploadFailed)
}

func TestFetchFailures(t *testing.T) {
	t.Parallel()
	bad := []byte(`{"v":1,"files":[{"path":"../evil","size":0,"sha256":"` + strings.Repeat("0", 64) + `"}]}`)
	for name, tt := range map[string]struct {
		fetch  func(h *home) Fetch
		reason string
	}{
		"hostile manifest": {func(h *home) Fetch { return Fetch{Manifest: h.put(bad)} }, ReasonArtifactInvalid},
		"missing":          {func(*home) Fetch { return Fetch{Manifest: Object{SHA256: "00"}} }, ReasonGrantFailed},
		"optional":         {func(h *home) Fetch { h.missing = true; return Fetch{Manifest: Object{SHA256: "00"}, Optional: true} }, ReasonOK},
		"outside":          {func(h *home) Fetch { return Fetch{Manifest: h.put([]byte(`{"v":1,"files":[]}`)), To: "../x"} }, ReasonArtifactInvalid},
	} {
		h := &home{job: jobOf(t, "true")}
		h.job.Fetches = []Fetch{tt.fetch(h)}
		t.Log(name)
		want(t, h, h.run(t), tt.reason)
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	packed := archive(t, map[string]string{"a/b": "from the source"}, tar.Header{Name: "a/b", Typeflag: tar.TypeReg})
	for name, tt := range map[string]struct {
		change func(h *home)
		reason string
	}{
		"there":   {func(*home) {}, ReasonOK},
		"damaged": {func(h *home) { h.objects[h.job.Source.SHA256] = append([]byte(nil), packed[:len(packed)-3]...) }, ReasonCheckoutFailed},
		"other": {func(h *home) {
			h.objects[h.job.Source.SHA256] = archive(t, nil, tar.Header{Name: "x", Typeflag: tar.TypeReg})
		}, ReasonCheckoutFailed},
		"gone":    {func(h *home) { h.objects, h.missing = nil, true }, ReasonSourceGone},
		"network": {func(h *home) { h.objects = nil }, ReasonCheckoutFailed},
		"hostile": {func(h *home) {
			h.job.Source = h.put(archive(t, nil, tar.Header{Name: "../x", Typeflag: tar.TypeReg}))
			h.job.Source.Name = "s"
		}, ReasonCheckoutFailed},
	} {
		t.Run(name, func(t *testing.T) {
			h := &home{job: jobOf(t, `test "$(cat a/b)" = "from the source"`)}
			h.job.Workspace = ""
			h.job.Source = h.put(packed)
			h.job.Source.Kind, h.job.Source.Name = "source", "source/1"
			tt.change(h)
			want(t, h, h.run(t), tt.reason)
		})
	}
}

func TestGlob(t *testing.T) {
	t.Parallel()
	for pattern, paths := range map[string]map[string]bool{
		"dist":          {"dist": true, "dist/a/b": true, "distant": false, "x/dist": false},
		"dist/":         {"dist/a": true},
		"./dist":        {"dist/a": true},
		"*.go":          {"a.go": true, "x/a.go": false},
		"**/*.go":       {"a.go": true, "x/y/a.go": true, "a.goo": false},
		"a/**":          {"a/b": true, "a/b/c": true, "ab": false},
		"{a,b}/?.[a-c]": {"a/x.b": true, "b/x.d": false, "c/x.a": false},
		"[!a]":          {"b": true, "a": false},
		"ä/*.txt":       {"ä/b.txt": true},
		"**":            {"a": true, ".git/config": false, ".github/x": true},
		".git/config":   {".git/config": true},
		"a+b(c).txt":    {"a+b(c).txt": true, "aab(c).txt": false},
	} {
		g, err := parseGlob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range paths {
			if g.match(path) != want {
				t.Errorf("%q matches %q: %v", pattern, path, !want)
			}
			if base := g.base(); want && base != "." && path != base && !strings.HasPrefix(path, base+"/") {
				t.Errorf("%q has base %q, and matches %q", pattern, base, path)
			}
		}
	}
}

// FuzzManifest: a manifest that is accepted unpacks into its folder alone.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"v":1,"files":[{"path":"a","size":0,"link":"b"}]}`))
	f.Fuzz(func(t *testing.T, form []byte) {
		m, err := ParseManifest(form)
		if err != nil {
			t.Skip(err)
		}
		_, again, err := m.Encode("x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseManifest(again); err != nil && json.Valid(again) {
			t.Errorf("%s, of %s: %v", again, form, err)
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(file.Path) {
				t.Errorf("path %q", file.Path)
			}
		}
	})
}

// DiskFull: the command and the runner's folder are named, and the log still comes.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h := &home{job: jobOf(t, "echo begun; head -c 100000000 /dev/zero > fill")}
	h.job.Workspace = dir
	result := h.run(t)
	want(t, h, result, ReasonDiskFull)
	if !strings.Contains(result.Detail, dir) || !strings.Contains(h.text(), "begun") {
		t.Errorf("detail %q, log %q", result.Detail, h.text())
	}
}
