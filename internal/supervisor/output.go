package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/buildit-dev/buildit/internal/logs"
	"github.com/buildit-dev/buildit/internal/mask"
	"github.com/buildit-dev/buildit/internal/platform"
)

// output is the one way from commands to the log: a pipe that all of them write,
// the masking filter, and the cutter of live parts.
type output struct {
	clock  platform.Clock
	cutter *logs.Cutter
	limit  int64  // bytes of output at which over is called, 0 for none
	over   func() // once

	mu     sync.Mutex // the filter has two writers: the pipe and say
	filter *mask.Filter
	err    error // of the log; the pipe is still emptied, so that commands end

	bytes atomic.Int64 // of output so far
	last  atomic.Int64 // nanoseconds since began, of the last output
	began time.Time

	read, write *os.File
	settled     chan error // one answer for each settle
	ended       chan error // the reader's end
}

// bufferSize is how much is read from the pipe at once, in bytes, and what the
// kernel is asked to hold in it, so that a busy command seldom waits.
const bufferSize = 256 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func newOutput(clock platform.Clock, cutter *logs.Cutter, limit int64, over func()) *output {
	return &output{
		clock: clock, cutter: cutter, limit: limit, over: over, began: clock.Now(),
		filter: mask.NewFilter(nil, cutter),
	}
}

// mask replaces the filter, before any output.
func (o *output) mask(set *mask.Set) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.filter = mask.NewFilter(set, o.cutter)
}

// open makes the pipe and begins to read it. Our end does not block, so that settle
// can wake the reader; the commands' end does, since programs do not expect a
// stdout that is "temporarily unavailable".
func (o *output) open() error {
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return fmt.Errorf("no pipe for the commands: %w", err)
	}
	growPipe(ends[1])
	o.write = os.NewFile(uintptr(ends[1]), "commands")
	if err := syscall.SetNonblock(ends[0], true); err != nil {
		return errors.Join(err, syscall.Close(ends[0]), o.write.Close())
	}
	o.read = os.NewFile(uintptr(ends[0]), "output")
	o.settled, o.ended = make(chan error, 1), make(chan error, 1)
	go func() { o.ended <- o.pump() }()
	return nil
}

// pump passes on what the commands write until nobody can write any more.
func (o *output) pump() error {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	for {
		n, err := o.read.Read(buffer[:])
		if n > 0 {
			o.take(buffer[:n])
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded): // settle asks
			o.settled <- o.drain(buffer[:])
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// settle returns when all that was in the pipe has been passed on.
func (o *output) settle() error {
	if err := o.read.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	return <-o.settled
}

// drain empties the pipe without waiting. What left-over children go on writing
// does not keep it.
func (o *output) drain(buffer []byte) error {
	if err := o.read.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	raw, err := o.read.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	most := 4 * bufferSize // more than the pipe holds
	err = raw.Read(func(fd uintptr) bool {
		for most > 0 {
			n, err := syscall.Read(int(fd), buffer)
			switch {
			case errors.Is(err, syscall.EINTR):
				continue
			case errors.Is(err, syscall.EAGAIN) || (err == nil && n == 0):
				return true
			case err != nil:
				failure = err
				return true
			}
			o.take(buffer[:n])
			most -= n
		}
		return true
	})
	return errors.Join(err, failure)
}

// take passes on output of the commands.
func (o *output) take(p []byte) {
	o.last.Store(int64(o.clock.Now().Sub(o.began)))
	total := o.bytes.Add(int64(len(p)))
	if o.limit > 0 && total > o.limit {
		if before := total - int64(len(p)); before <= o.limit {
			o.over()
		}
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(p)
}

func (o *output) put(p []byte) {
	if o.err == nil {
		_, o.err = o.filter.Write(p)
	}
}

// say writes a line of the supervisor's own, on a line of its own.
func (o *output) say(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	line := fmt.Appendf(nil, format+"\n", args...)
	if _, begun, _ := o.cutter.Position(); begun && !bytes.HasPrefix(line, []byte("\n")) {
		line = append([]byte("\n"), line...)
	}
	o.put(line)
}

// position is the line that the next output is in, and the last line that has any.
func (o *output) position() (next, last int64) {
	line, begun, _ := o.cutter.Position()
	if begun {
		return line, line
	}
	return line, line - 1
}

// silence is how long there has been no output.
func (o *output) silence() time.Duration {
	return o.clock.Now().Sub(o.began) - time.Duration(o.last.Load())
}

// stir counts as output: a command begins.
func (o *output) stir() { o.last.Store(int64(o.clock.Now().Sub(o.began))) }

// close ends the pipe, within the time that is left to children who hold it, and
// the stream. Held beginnings of secrets go out by the rule of package mask.
func (o *output) close() error {
	var err error
	if o.write != nil {
		err = o.write.Close()
		if settleErr := o.settleUnlessEnded(); settleErr != nil {
			err = errors.Join(err, settleErr)
		}
		err = errors.Join(err, o.read.Close())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = o.filter.Close()
	}
	return errors.Join(err, o.err, o.cutter.Close())
}

// settleUnlessEnded takes what is in the pipe. The reader ends by itself unless a
// child that got away still holds the other end.
func (o *output) settleUnlessEnded() error {
	if err := o.read.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	select {
	case err := <-o.ended:
		return err
	case err := <-o.settled:
		return err
	}
}
