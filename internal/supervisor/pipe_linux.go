package supervisor

import (
	"errors"
	"os"
	"syscall"
)

// preparePipe makes writes to a pipe of ours wait, as every program expects of its
// stdout (os.Pipe makes them fail with EAGAIN when the pipe is full), and asks for
// a larger pipe. Where the user's share of pipe memory is used up the pipe keeps
// its size, and only speed is lost.
func preparePipe(w *os.File) error {
	raw, err := w.SyscallConn()
	if err != nil {
		return err
	}
	var blockErr error
	const setSize = 1031 // F_SETPIPE_SZ, fcntl(2)
	err = raw.Control(func(fd uintptr) {
		blockErr = syscall.SetNonblock(int(fd), false)
		syscall.Syscall(syscall.SYS_FCNTL, fd, setSize, bufferSize)
	})
	return errors.Join(err, blockErr)
}
