package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

func init() {
	register(verb{
		name: "artifacts", summary: "list what a run left behind, or download one",
		usage:   "RUN [NAME] [-o FOLDER] [--stage KEY] [--commit COMMIT] [--json]",
		example: "buildit artifacts 42 shop -o dist",
		flags:   append([]string{"-o", "--stage", "--commit"}, apiFlags...),
		run:     apiVerb("artifacts", 0, 2, artifacts),
	})
}

// artifact is what the CLI prints of one.
type artifact struct {
	Name      string    `json:"name"`
	Stage     string    `json:"stage"`
	StageKey  string    `json:"stage_key"`
	Value     string    `json:"value"`
	Digest    string    `json:"digest"` // hex SHA-256 of the manifest; "" for a value
	Files     int       `json:"files"`
	Bytes     int64     `json:"bytes"`
	CreatedAt time.Time `json:"created_at"`
}

func artifacts(o *options) func(context.Context, *call) error {
	which := whichRun(o)
	folder := o.flags.String("o", ".", "")
	stage := o.flags.String("stage", "", "")
	return func(ctx context.Context, c *call) error {
		id, err := which.find(ctx, c, false)
		if err != nil {
			return err
		}
		name := stageWord(c.words, *which.commit != "")
		if name == "" {
			return listArtifacts(ctx, c, id)
		}
		return fetchArtifact(ctx, c, id, name, *stage, *folder)
	}
}

func listArtifacts(ctx context.Context, c *call, id string) error {
	list := []raw[artifact]{}
	err := eachPage(ctx, c, runPath(id, "/artifacts"), nil, func(a raw[artifact]) bool {
		list = append(list, a)
		return true
	})
	if err != nil || c.json {
		return orJSON(c, err, list)
	}
	if len(list) == 0 {
		return c.say("run %s has left no artifact behind", id)
	}
	var rows [][]string
	for _, item := range list {
		a := item.value
		what, size := a.Value, "-"
		if a.Digest != "" {
			what, size = "sha256:"+a.Digest[:min(12, len(a.Digest))], bytesText(a.Bytes)
		}
		rows = append(rows, []string{clean(a.Name, 40), clean(a.Stage, 40), fmt.Sprint(a.Files), size, clean(what, 80)})
	}
	return c.columns([]string{"ARTIFACT", "STAGE", "FILES", "SIZE", "VALUE OR DIGEST"}, rows)
}

// download is an artifact with what it takes to read it.
type download struct {
	Artifact artifact                          `json:"artifact"`
	Manifest json.RawMessage                   `json:"manifest"`
	Blobs    map[string]platform.SignedRequest `json:"blobs"` // by the hex SHA-256 of the bytes
}

// fetchArtifact writes the files of an artifact below a folder, each checked
// against the digest that the manifest names, and the manifest against its own.
func fetchArtifact(ctx context.Context, c *call, id, name, stage, folder string) error {
	query := ""
	if stage != "" {
		query = "?" + url.Values{"stage": {stage}}.Encode()
	}
	var answer raw[download]
	if err := c.get(ctx, runPath(id, "/artifacts/"+url.PathEscape(name)+query), &answer); err != nil {
		return err
	}
	got := answer.value
	if got.Artifact.Digest == "" {
		if c.json {
			return c.printJSON(answer)
		}
		return c.say("%s", got.Artifact.Value)
	}
	manifest, err := checkManifest(got)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(c.env.dir, folder)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	for _, file := range manifest.Files {
		if err := c.fetchFile(ctx, root, file, got.Blobs[file.SHA256]); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", file.Path, err), root.Close())
		}
		if c.json {
			continue
		}
		if err := c.say("%s", filepath.Join(folder, filepath.FromSlash(clean(file.Path, 1000)))); err != nil {
			return errors.Join(err, root.Close())
		}
	}
	if c.json {
		return errors.Join(c.printJSON(map[string]any{"artifact": got.Artifact, "folder": folder, "files": manifest.Files}), root.Close())
	}
	return root.Close()
}

// checkManifest holds the manifest to the digest of the artifact.
func checkManifest(got download) (*supervisor.Manifest, error) {
	var form bytes.Buffer
	if err := json.Compact(&form, got.Manifest); err != nil {
		return nil, fmt.Errorf("the manifest of %s cannot be read: %w", got.Artifact.Name, err)
	}
	manifest, err := supervisor.ParseManifest(form.Bytes())
	if err != nil {
		return nil, err
	}
	object, _, err := manifest.Encode(got.Artifact.Name)
	if err != nil {
		return nil, err
	}
	if object.SHA256 != got.Artifact.Digest {
		return nil, fmt.Errorf("the manifest of %s has the digest %s, and should have %s: nothing was written",
			got.Artifact.Name, object.SHA256, got.Artifact.Digest)
	}
	return manifest, nil
}

// fetchFile writes one file or link below root, which nothing leaves.
func (c *call) fetchFile(ctx context.Context, root *os.Root, file supervisor.File, grant platform.SignedRequest) error {
	if dir := path.Dir(file.Path); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if file.Link != "" {
		if err := root.Remove(file.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return root.Symlink(file.Link, file.Path)
	}
	body, err := c.granted(ctx, grant)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if file.X {
		mode = 0o755
	}
	err = writeChecked(root, file, mode, body)
	return errors.Join(err, body.Close())
}

// writeChecked writes beside the name and renames, so that a file of the name
// always has the bytes that the manifest promises.
func writeChecked(root *os.Root, file supervisor.File, mode os.FileMode, body io.Reader) error {
	partial := file.Path + ".partial"
	out, err := root.OpenFile(partial, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(body, file.Size+1))
	err = errors.Join(err, out.Close())
	if digest := hex.EncodeToString(sum.Sum(nil)); err == nil && (n != file.Size || digest != file.SHA256) {
		err = fmt.Errorf("the bytes that came have the digest %s, and should have %s", digest, file.SHA256)
	}
	if err != nil {
		return errors.Join(err, root.Remove(partial))
	}
	return root.Rename(partial, file.Path)
}

// granted reads what a grant allows. Our token goes to no address of a grant.
func (c *call) granted(ctx context.Context, grant platform.SignedRequest) (io.ReadCloser, error) {
	base, err := url.Parse(c.server + "/")
	if err != nil {
		return nil, err
	}
	at, err := base.Parse(grant.URL)
	if err != nil || grant.URL == "" {
		return nil, errors.New("the server has granted no way to read it")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range grant.Header {
		request.Header[name] = values
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, c.refused(answer)
	}
	return answer.Body, nil
}
