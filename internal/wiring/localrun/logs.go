package localrun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// logKeeper shows logs as they come and keeps them for the end of the run.
type logKeeper struct {
	show Show
	work string // a folder on the disk of dir

	mu   sync.Mutex
	kept map[string]*keptLog // by file name
}

// keptLog is the log of one attempt: in memory while it is short, then in a file.
type keptLog struct {
	next int // segment
	text []byte
	file *os.File
}

// stand is the log of a stage that did not run again.
func (k *logKeeper) stand(name string, text []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept[name] = &keptLog{text: text}
}

// read is the whole log of an attempt that is over, or false if it is longer than
// limit, in bytes.
func (k *logKeeper) read(name string, limit int64) ([]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := k.kept[name]
	if kept == nil {
		return nil, true
	}
	if kept.file == nil {
		return kept.text, int64(len(kept.text)) <= limit
	}
	info, err := kept.file.Stat()
	if err != nil || info.Size()+int64(len(kept.text)) > limit {
		return nil, false
	}
	text, err := os.ReadFile(kept.file.Name())
	return append(text, kept.text...), err == nil
}

// liveEvery is how long output waits for more of it before it is shown: a part costs
// nothing here, and somebody looks at the terminal.
const liveEvery = 100 * time.Millisecond

// inMemory is how much of a log waits in memory, in bytes.
const inMemory = 1 << 20

// Store shows a part and keeps it.
func (k *logKeeper) Store(_ context.Context, log pipeline.LogName, part supervisor.LogPart) error {
	kept := k.of(log)
	if part.Segment != kept.next {
		return nil // it came before
	}
	kept.next++
	k.show.Log(log.Key, log.Attempt, part.Text)
	kept.text = append(kept.text, part.Text...)
	if len(kept.text) <= inMemory {
		return nil
	}
	return kept.spill(filepath.Join(k.work, fileName(log)))
}

func fileName(log pipeline.LogName) string { return fmt.Sprintf("%s-%d.log", log.Key, log.Attempt) }

// of finds the log of an attempt. Its parts come one after another, from one
// goroutine.
func (k *logKeeper) of(log pipeline.LogName) *keptLog {
	name := fileName(log)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept[name] == nil {
		k.kept[name] = new(keptLog)
	}
	return k.kept[name]
}

// spill moves the text into a file.
func (l *keptLog) spill(path string) error {
	var err error
	if l.file == nil {
		if l.file, err = os.Create(path); err != nil {
			return err
		}
	}
	_, err = l.file.Write(l.text)
	l.text = l.text[:0]
	return err
}

// moveTo leaves the whole log at path.
func (l *keptLog) moveTo(path string) error {
	if l.file == nil {
		return overwrite(path, l.text)
	}
	_, err := l.file.Write(l.text)
	return errors.Join(err, l.file.Close(), os.Rename(l.file.Name(), path))
}

// Close tells that an attempt is over.
func (k *logKeeper) Close(_ context.Context, log pipeline.LogName) error {
	k.show.LogEnd(log.Key, log.Attempt)
	return nil
}

// write puts the logs of this run into dir/logs, and removes those of other stages
// that a run before has left there.
func (k *logKeeper) write(dir string) error {
	dir = filepath.Join(dir, "logs")
	if err := makeDir(dir); err != nil {
		return err
	}
	before, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for _, old := range before {
		if k.kept[old.Name()] == nil {
			errs = append(errs, os.Remove(filepath.Join(dir, old.Name())))
		}
	}
	for name, kept := range k.kept {
		errs = append(errs, kept.moveTo(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// overwrite writes over a file of the run before: to cut it afterwards is faster
// than to begin with an empty one.
func overwrite(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Truncate(int64(len(text))), file.Close())
}
