package supervisor

import (
	"os"
	"syscall"
)

// growPipe asks for a larger pipe. Where the user's share of pipe memory is used
// up the pipe keeps its size, and only speed is lost.
func growPipe(w *os.File) {
	raw, err := w.SyscallConn()
	if err != nil {
		return
	}
	const setSize = 1031 // F_SETPIPE_SZ, fcntl(2)
	if err := raw.Control(func(fd uintptr) {
		syscall.Syscall(syscall.SYS_FCNTL, fd, setSize, bufferSize)
	}); err != nil {
		return
	}
}
