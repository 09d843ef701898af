package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// keptPipeline keeps a tree in a cache, and leaves one behind as an artifact, which a
// second stage fetches. The tree is moved into place, so that disk and figures are
// those of BuildIt alone.
const keptPipeline = `pipeline "kept"
cache "tree" { key "tree-${git.short_sha}"; path "tree"; }
stage "cache" {
    cache "tree"
    run "test -d tree || cp -a '%[1]s' tree"
}
stage "make" {
    needs "cache"
    run "cp -a '%[1]s' made"
    artifact "made" path="made"
}
stage "take" { needs "make"; fetch "made"; run "test -d made"; }
`

// The tree: what a build keeps is many small files that compress and some large ones
// that do not.
const (
	smallFiles = 12_000
	smallFile  = 64 << 10
	largeFiles = 4
	largeFile  = 64 << 20
)

// keptFigures measures save and restore of a cache of 1 GB, and an artifact of the
// same bytes, by the lines that every stage prints of them.
func keptFigures(ctx context.Context, p *platform) ([]row, error) {
	tree := filepath.Join(p.dir, "tree")
	if err := makeTree(tree); err != nil {
		return nil, err
	}
	if err := p.repositoryOf(ctx, "kept", fmt.Sprintf(keptPipeline, tree)); err != nil {
		return nil, err
	}
	speeds := map[string][]float64{}
	for range 4 { // the first saves the cache, the others restore it
		id, err := p.start(ctx, "kept")
		if err != nil {
			return nil, err
		}
		run, err := p.finished(ctx, id)
		if err == nil && run.Status != "succeeded" {
			err = fmt.Errorf("run %s %s: %s", id, run.Status, run.Reason)
		}
		if err != nil {
			return nil, err
		}
		for _, s := range run.Stages {
			if err := p.readSpeeds(ctx, id, s.Key, speeds); err != nil {
				return nil, err
			}
		}
	}
	note := fmt.Sprintf("1 GB in %d files, %d of them large; everything on this machine", smallFiles+largeFiles, largeFiles)
	var rows []row
	for _, r := range []struct{ what, line, aim string }{
		{"cache: save", "saved", "-"},
		{"cache: restore", "restored", "200 MB/s"},
		{"artifact: upload of new files", "artifact new", "-"},
		{"artifact: upload of known files", "artifact known", "-"},
		{"artifact: fetch", "fetch", "-"},
	} {
		list := speeds[r.line]
		if len(list) == 0 {
			return nil, fmt.Errorf("no stage has printed how fast its %q was", r.line)
		}
		rows = append(rows, row{r.what, fmt.Sprintf("%.0f MB/s", median(list)), r.aim, fmt.Sprintf("%s; %d times", note, len(list))})
	}
	return rows, nil
}

// speedLine is what a stage prints of bytes that it has moved.
var speedLine = regexp.MustCompile(`(?m)^(?:cache tree: (saved|restored)|(artifact|fetch)) .*\(([0-9]+) MB/s\)$`)

func (p *platform) readSpeeds(ctx context.Context, run, stage string, speeds map[string][]float64) error {
	text, err := p.logText(ctx, run, stage)
	if err != nil {
		return err
	}
	for _, found := range speedLine.FindAllStringSubmatch(text, -1) {
		speed, err := strconv.ParseFloat(found[3], 64)
		if err != nil {
			return err
		}
		name := found[1] + found[2]
		if name == "artifact" {
			name += " new"
			if len(speeds[name]) > 0 {
				name = "artifact known"
			}
		}
		speeds[name] = append(speeds[name], speed)
	}
	return nil
}

// logText is the whole log of a stage.
func (p *platform) logText(ctx context.Context, run, stage string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/orgs/default/runs/"+run+"/stages/"+stage+"/log", nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(answer.Body)
	return string(text), errors.Join(err, answer.Body.Close())
}

// repositoryOf serves and connects a repository of one pipeline file.
func (p *platform) repositoryOf(ctx context.Context, name, file string) error {
	work, bare := filepath.Join(p.dir, "work", name), filepath.Join(p.dir, "git", name+".git")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, ".buildit.kdl"), []byte(file), 0o644); err != nil {
		return err
	}
	for _, args := range []string{"init --quiet --initial-branch main", "add --all", "-c user.name=bench -c user.email=bench@example.com commit --quiet --message bench"} {
		if err := command(ctx, work, "git", strings.Fields(args)...); err != nil {
			return err
		}
	}
	if err := command(ctx, p.dir, "git", "clone", "--quiet", "--bare", work, bare); err != nil {
		return err
	}
	return p.call(ctx, http.MethodPost, "/repositories", map[string]any{
		"name": name, "url": p.git.URL + "/" + name + ".git", "run_pipelines": true,
	}, nil)
}

// makeTree writes the tree, the same bytes every time.
func makeTree(dir string) error {
	random := rand.NewChaCha8([32]byte{})
	bits := make([]byte, smallFile/2)
	for i := range smallFiles {
		if _, err := random.Read(bits); err != nil {
			return err
		}
		at := filepath.Join(dir, fmt.Sprintf("d%02d", i/1000), fmt.Sprintf("e%02d", i/100%10), fmt.Sprintf("f%05d", i))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, []byte(hex.EncodeToString(bits)), 0o644); err != nil { // half of it is nothing new
			return err
		}
	}
	var large bytes.Buffer
	for i := range largeFiles {
		large.Reset()
		if _, err := io.CopyN(&large, random, largeFile); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("large%d", i)), large.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
