package supervisor

import "syscall"

// growPipe asks for a larger pipe. Where the user's share of pipe memory is used
// up the pipe keeps its size, and only speed is lost. Source: fcntl(2), F_SETPIPE_SZ.
func growPipe(fd int) {
	const setSize = 1031
	syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), setSize, bufferSize)
}
