package supervisor

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// residentMB is the memory of this process in MiB, 0 where nobody can tell.
// Source: proc(5), /proc/pid/statm.
func residentMB() int {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0
	}
	return pages * os.Getpagesize() >> 20
}

// TotalMemoryMB is the machine's memory in MiB, 0 where nobody can tell.
// Source: sysinfo(2).
func TotalMemoryMB() int {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	return int(info.Totalram * uint64(info.Unit) >> 20)
}
