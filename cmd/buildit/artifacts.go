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
	if whole(root, file) {
		return nil
	}
	var err error
	for range downloadTries {
		if err = c.fetchRest(ctx, root, file, grant); err == nil || ctx.Err() != nil || !errors.Is(err, errCut) {
			return err
		}
	}
	return err
}

// downloadTries is how often a connection that breaks is taken up again at once. After
// that the same command goes on where it was.
const downloadTries = 5

// errCut says that a download has ended too early; what came of it is kept.
var errCut = errors.New("the connection broke; the same command goes on where it was")

// whole tells whether a file is there as the manifest says: a download before this one
// got so far.
func whole(root *os.Root, file supervisor.File) bool {
	n, digest, err := sumOf(root, file.Path)
	return err == nil && n == file.Size && digest == file.SHA256
}

func sumOf(root *os.Root, name string) (int64, string, error) {
	sum := sha256.New()
	n, err := readInto(sum, root, name)
	return n, hex.EncodeToString(sum.Sum(nil)), err
}

func readInto(sum io.Writer, root *os.Root, name string) (int64, error) {
	info, err := root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return 0, errors.Join(err, os.ErrNotExist)
	}
	in, err := root.Open(name)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(sum, in)
	return n, errors.Join(err, in.Close())
}

// fetchRest fetches what is not there yet of a file. It is written beside the name and
// renamed, so that a file of the name always has the bytes that the manifest promises.
func (c *call) fetchRest(ctx context.Context, root *os.Root, file supervisor.File, grant platform.SignedRequest) error {
	partial, sum := file.Path+".partial", sha256.New()
	have, err := readInto(sum, root, partial)
	if err != nil || have > file.Size {
		if err := root.Remove(partial); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		have = 0
		sum.Reset()
	}
	n := have
	if have < file.Size || have == 0 {
		body, err := c.granted(ctx, grant, have)
		if err != nil {
			return err
		}
		more, err := appendTo(root, partial, file.X, io.TeeReader(io.LimitReader(cuttable{body}, file.Size-have+1), sum))
		n += more
		if err = errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("%w (%d of %d bytes are here)", err, n, file.Size)
		}
	}
	if digest := hex.EncodeToString(sum.Sum(nil)); n != file.Size || digest != file.SHA256 {
		err := fmt.Errorf("the bytes that came have the digest %s, and should have %s", digest, file.SHA256)
		return errors.Join(err, root.Remove(partial))
	}
	return root.Rename(partial, file.Path)
}

// cuttable says of what goes wrong on the way that it is errCut, and not the disk.
type cuttable struct{ body io.Reader }

func (c cuttable) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %w", errCut, err)
	}
	return n, err
}

func appendTo(root *os.Root, name string, executable bool, body io.Reader) (int64, error) {
	mode := os.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, mode)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, body)
	return n, errors.Join(err, out.Close())
}

// granted reads what a grant allows, from an offset on. Our token goes to no address of
// a grant.
func (c *call) granted(ctx context.Context, grant platform.SignedRequest, offset int64) (io.ReadCloser, error) {
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
	if offset > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, errors.Join(errCut, c.unreachable(err))
	}
	switch {
	case answer.StatusCode == http.StatusPartialContent && offset > 0:
	case answer.StatusCode == http.StatusOK: // from the beginning: pass over what we have
		if _, err := io.CopyN(io.Discard, answer.Body, offset); err != nil {
			return nil, errors.Join(errCut, err, answer.Body.Close())
		}
	default:
		return nil, c.refused(answer)
	}
	return answer.Body, nil
}
