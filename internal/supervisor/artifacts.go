package supervisor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
)

// maxValue is the longest value of a reference artifact, in bytes.
const maxValue = 4 << 10

// finish does what follows the commands, whatever their end was: outputs, then the
// artifacts that are wanted at such an end. The first trouble counts.
func (a *attempt) finish(ctx, calls context.Context, end error) error {
	if errors.Is(end, ErrSettled) {
		return end
	}
	if end == nil {
		end = a.readOutputs()
	}
	if err := a.makeReport(a.whileWanted(ctx, calls)); end == nil {
		end = err
	}
	for _, use := range a.job.Artifacts {
		if !wanted(use.On, end, ctx) {
			continue
		}
		if err := a.makeArtifact(a.whileWanted(ctx, calls), use); err != nil && end == nil {
			end = orStopped(ctx, err)
		} else if err != nil {
			a.notice("artifact-not-made", "The artifact %s was not made: %v.", use.Name, err)
		}
	}
	if end == nil {
		a.saveCaches(ctx)
	}
	return end
}

// whileWanted is the context of an upload: that of the work, unless this has been
// stopped already and only its remains are taken.
func (a *attempt) whileWanted(ctx, calls context.Context) context.Context {
	if ctx.Err() != nil {
		return calls
	}
	return ctx
}

// wanted tells whether an artifact is made at this end of the commands. A stage
// that was stopped from outside has neither succeeded nor failed.
func wanted(on string, end error, ctx context.Context) bool {
	var order *stopOrder
	stopped := errors.As(end, &order) || (ctx.Err() != nil && errors.Is(end, context.Canceled))
	switch on {
	case "finished":
		return true
	case "failed":
		return end != nil && !stopped
	}
	return end == nil
}

// makeArtifact makes one artifact and adds it to the result.
func (a *attempt) makeArtifact(ctx context.Context, use ArtifactUse) error {
	if len(use.Paths) == 0 {
		return a.makeReference(use)
	}
	root, err := os.OpenRoot(a.folders.workspace)
	if err != nil {
		return failed(ReasonArtifactMissing, "The artifact %s: the workspace is gone: %v.", use.Name, err)
	}
	defer root.Close()
	began := a.clock.Now()
	manifest, err := collect(ctx, root, use.Paths, use.Exclude)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return &failure{ReasonArtifactInvalid, fmt.Sprintf("The artifact %s is not valid: %v.", use.Name, err), err}
	case len(manifest.Files) == 0 && use.Optional:
		a.notice("artifact-none", "The optional artifact %s matches no file.", use.Name)
		return nil
	case len(manifest.Files) == 0:
		return failed(ReasonArtifactMissing, "The artifact %s matches no file: %s. Mark it optional if it may be missing.", use.Name, strings.Join(use.Paths, ", "))
	}
	made, err := a.upload(ctx, root, use.Name, manifest)
	if err != nil {
		return err
	}
	a.result.Artifacts = append(a.result.Artifacts, made)
	a.out.say("%s", speed(fmt.Sprintf("artifact %s: %d files", use.Name, made.Files), made.Bytes, a.clock.Now().Sub(began)))
	return nil
}

// makeReference makes an artifact that is a text.
func (a *attempt) makeReference(use ArtifactUse) error {
	var empty []string // variables
	value := strings.TrimSpace(os.Expand(use.Value, func(name string) string {
		if a.env.vars[name] == "" {
			empty = append(empty, "$"+name)
		}
		return a.env.vars[name]
	}))
	switch {
	case value == "" && use.Optional:
		a.notice("artifact-none", "The optional artifact %s has an empty value.", use.Name)
		return nil
	case value == "":
		return failed(ReasonArtifactEmpty, "The artifact %s has an empty value: %q gives nothing after the commands, in which %s was not set.", use.Name, use.Value, cmp.Or(strings.Join(empty, ", "), "nothing"))
	case len(value) > maxValue:
		return failed(ReasonArtifactInvalid, "The artifact %s has a value of %d bytes; %d are allowed.", use.Name, len(value), maxValue)
	case a.masks.In(value):
		return failed(ReasonArtifactInvalid, "The value of the artifact %s holds a secret.", use.Name)
	}
	a.result.Artifacts = append(a.result.Artifacts, ArtifactResult{Name: use.Name, Value: value, Bytes: int64(len(value))})
	return nil
}

// transfers is how many objects travel at once.
const transfers = 8

// upload sends the blobs that the organization lacks, and then the manifest, so
// that a manifest that is there is whole.
func (a *attempt) upload(ctx context.Context, root *os.Root, name string, manifest *Manifest) (ArtifactResult, error) {
	object, form, err := manifest.Encode(name)
	if err != nil {
		return ArtifactResult{}, err
	}
	lacks, err := a.control.Lacks(ctx, manifest.Blobs())
	if err != nil {
		return ArtifactResult{}, uploadFailed(name, err)
	}
	source := map[string]string{}
	made := ArtifactResult{Name: name, Manifest: object, Files: len(manifest.Files)}
	for _, f := range manifest.Files {
		source[f.SHA256] = f.Path
		made.Bytes += f.Size
	}
	err = eachAtOnce(ctx, lacks, func(ctx context.Context, blob Object) error {
		return a.uploadFile(ctx, root, source[blob.SHA256], blob)
	})
	if err == nil {
		err = a.control.Upload(ctx, object, bytes.NewReader(form))
	}
	if err != nil {
		return ArtifactResult{}, uploadFailed(name, err)
	}
	return made, nil
}

func uploadFailed(name string, err error) error {
	var f *failure
	if errors.As(err, &f) || errors.Is(err, ErrSettled) {
		return err
	}
	return &failure{ReasonUploadFailed, fmt.Sprintf("The artifact %s could not be uploaded: %v.", name, err), err}
}

// uploadFile sends one file. If it has changed since it was hashed, the other end
// refuses it, and so does a second look here.
func (a *attempt) uploadFile(ctx context.Context, root *os.Root, path string, blob Object) error {
	file, err := openFile(root, path)
	if err == nil {
		err = errors.Join(a.control.Upload(ctx, blob, file), file.Close())
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	if size, sum, hashErr := hashFile(root, path); hashErr != nil || sum != blob.SHA256 || size != blob.Size {
		return &failure{ReasonArtifactInvalid, fmt.Sprintf("The file %s changed while it was uploaded; a process that still writes it?", path), err}
	}
	return err
}

// eachAtOnce calls do for every object, a few at a time, and ends with the first
// error.
func eachAtOnce(ctx context.Context, objects []Object, do func(context.Context, Object) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	queue := make(chan Object)
	for range min(transfers, len(objects)) {
		workers.Go(func() {
			for object := range queue {
				if ctx.Err() != nil {
					continue
				}
				if err := do(ctx, object); err != nil {
					stop(err)
				}
			}
		})
	}
	for _, object := range objects {
		queue <- object
	}
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}
