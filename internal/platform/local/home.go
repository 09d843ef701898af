package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/buildit-dev/buildit/internal/asl/engine"
	"github.com/buildit-dev/buildit/internal/platform"
)

// Options are what the home of one machine needs from above.
type Options struct {
	URL      string            // of the server, for signed URLs and supervisors
	Machines map[string][]byte // state machines, by name
	History  bool              // keep the histories of executions
	Origins  []string          // hosts of pages that may connect, besides the server's own
	Log      *slog.Logger      // nil discards

	// Tasks are the supervisors' settings. URL, Clock and Log are the home's unless
	// they are set. Without a Runner this home runs no tasks.
	Tasks TaskOptions

	Clock platform.Clock // nil is the machine's
	IDs   platform.IDs   // nil is the machine's randomness
}

// Home is every port on one machine, durable in one data folder, which this process
// owns until Close.
type Home struct {
	platform.Home
	Sockets *Push // where the server's WebSockets are accepted

	folder *Folder
	db     *DB
	blobs  *Blobs
	flow   *engine.Flow
	timers *Timers
	tasks  *Tasks
	ended  func(ctx context.Context, job string) error
	log    *slog.Logger
}

const tasksFolder = "tasks"

// Open opens the home in a data folder, or makes it. What was going on when the
// process before ended goes on when Run runs. The errors say what to do: another
// process owns the folder, a newer BuildIt has written it, its key is gone or can be
// read by others.
func Open(ctx context.Context, dir string, o Options) (*Home, error) {
	o = o.withDefaults()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("the data folder: %w", err)
	}
	folder, err := OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	h := &Home{folder: folder, log: o.Log}
	if err := h.open(ctx, dir, o); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = NewClock()
	}
	if o.IDs == nil {
		o.IDs = NewIDs()
	}
	if o.Tasks.URL == "" {
		o.Tasks.URL = o.URL
	}
	if o.Tasks.Clock == nil {
		o.Tasks.Clock = o.Clock
	}
	if o.Tasks.Log == nil {
		o.Tasks.Log = o.Log
	}
	return o
}

// open fills the home. What it has opened when it fails, Close closes.
func (h *Home) open(ctx context.Context, dir string, o Options) error {
	if err := h.folder.sweepTemp(); err != nil {
		return err
	}
	keys, err := h.folder.keys()
	if err != nil {
		return err
	}
	h.blobs, err = OpenBlobs(filepath.Join(dir, blobsFolder), BlobOptions{Clock: o.Clock, URL: o.URL, Secret: keys.Derive("presign")})
	if err != nil {
		return err
	}
	if h.db, err = OpenDB(dir); err != nil {
		return err
	}
	h.flow, err = NewFlow(ctx, h.db, engine.Options{Machines: o.Machines, Clock: o.Clock, IDs: o.IDs, History: o.History, Log: o.Log})
	if err != nil {
		return err
	}
	table, queues := NewTable(h.db, o.Clock), NewQueues(h.db, o.Clock)
	h.timers, h.Sockets = NewTimers(queues), NewPush(o.Origins...)
	h.Home = platform.Home{
		Table:  table,
		Feed:   table,
		Blobs:  h.blobs,
		Flow:   h.flow,
		Queues: queues,
		Push:   h.Sockets,
		Keys:   keys,
		Timers: h.timers,
		Clock:  o.Clock,
		IDs:    o.IDs,
	}
	if o.Tasks.Runner == "" {
		return nil
	}
	if h.tasks, err = NewTasks(filepath.Join(dir, tasksFolder), o.Tasks); err != nil {
		return err
	}
	h.Tasks = h.tasks
	return nil
}

// TempDir is a folder for temporary files on the disk of the data. It is empty when
// the home opens.
func (h *Home) TempDir() string { return filepath.Join(h.folder.dir, tempFolder) }

// SetFunctions says what the names in the state machines stand for. It is called
// before Run: the functions are made of the home.
func (h *Home) SetFunctions(functions map[string]platform.Function) { h.flow.SetFunctions(functions) }

// OnTaskEnded says who is told of a task whose supervisor died without a word: the
// task's job. It is called before Run.
func (h *Home) OnTaskEnded(ended func(ctx context.Context, job string) error) { h.ended = ended }

// BlobHandler serves the URLs that the home's blobs sign, below BlobsPath.
func (h *Home) BlobHandler() http.Handler { return h.blobs.Handler(h.log) }

// Run executes state machines and brings up timers until ctx ends, and returns nil
// then. If one of them fails, the other ends too.
func (h *Home) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	var flowErr, timersErr error
	running.Go(func() {
		defer cancel()
		flowErr = h.flow.Run(ctx)
	})
	running.Go(func() {
		defer cancel()
		timersErr = h.timers.Run(ctx)
	})
	if h.tasks != nil && h.ended != nil {
		running.Go(func() { h.tasks.Watch(ctx, h.ended) })
	}
	running.Wait()
	return errors.Join(flowErr, timersErr)
}

// Close lets the data folder go. It is called after Run has returned. Supervisors go
// on: the next process finds them again.
func (h *Home) Close() error {
	var errs []error
	if h.Sockets != nil {
		h.Sockets.CloseAll()
	}
	if h.tasks != nil {
		errs = append(errs, h.tasks.Close())
	}
	if h.db != nil {
		errs = append(errs, h.db.Close())
	}
	return errors.Join(append(errs, h.folder.Close())...)
}
