package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// prepareSource unpacks the bundle of the commit into the workspace.
func (a *attempt) prepareSource(ctx context.Context) error {
	if a.job.Source.Name == "" {
		return a.folders.dropKept()
	}
	began := a.clock.Now()
	if k := a.folders.kept; k != nil && a.job.Source.SHA256 != "" && k.source == a.job.Source {
		a.out.say("source: %d files, kept from the stage before", k.printed.Files)
		return nil
	}
	if err := a.folders.dropKept(); err != nil {
		return a.diskTrouble(err)
	}
	body, err := a.control.Download(ctx, a.job.Source)
	switch {
	case errors.Is(err, platform.ErrNotFound) || errors.Is(err, platform.ErrGone):
		return &failure{ReasonSourceGone, "The source of the commit is not there any more; push again, or rerun from the newest commit.", err}
	case err != nil:
		return &failure{ReasonCheckoutFailed, "The source of the commit could not be downloaded: " + err.Error() + ".", err}
	}
	got, err := a.unpackSource(body)
	if err = errors.Join(err, body.Close()); err != nil {
		if isDiskFull(err) {
			return a.diskTrouble(err)
		}
		return &failure{ReasonCheckoutFailed, "The source of the commit could not be unpacked: " + err.Error() + ".", err}
	}
	if s := a.folders.scratch; s != nil && s.keep {
		if a.folders.kept, err = keep(a.folders.workspace, a.job.Source, got); err != nil {
			return a.diskTrouble(err)
		}
	}
	a.out.say("%s", speed(fmt.Sprintf("source: %d files", got.Files), got.Bytes, a.clock.Now().Sub(began)))
	return nil
}

func (a *attempt) unpackSource(body io.Reader) (Unpacked, error) {
	root, err := os.OpenRoot(a.folders.workspace)
	if err != nil {
		return Unpacked{}, err
	}
	sum := sha256.New()
	stream := io.TeeReader(body, sum)
	got, err := Unpack(root, stream, SourceLimits)
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(stream, 1<<20)) // padding behind the last entry
	}
	if err == nil {
		err = checkSum(a.job.Source, sum)
	}
	return got, errors.Join(err, root.Close())
}

// checkSum compares bytes that came with what was announced.
func checkSum(object Object, sum hash.Hash) error {
	if got := hex.EncodeToString(sum.Sum(nil)); object.SHA256 != "" && got != object.SHA256 {
		return fmt.Errorf("it arrived damaged: SHA-256 %s, not %s", got, object.SHA256)
	}
	return nil
}

// speed is the line that prepare prints for each part.
func speed(what string, bytes int64, took time.Duration) string {
	rate := float64(bytes) / (1 << 20) / max(took.Seconds(), 1e-6)
	return fmt.Sprintf("%s, %.1f MB in %.2f s (%.0f MB/s)", what, float64(bytes)/(1<<20), took.Seconds(), rate)
}
