// Package proctable reads the kernel's table of processes: who descends from whom,
// whether a process is still the one that was started, what was killed for want of
// memory. It changes nothing.
package proctable

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Process is one line of the process table.
type Process struct {
	PID, Parent, Group, Session int
	Status                      byte   // R, S, D, T, Z, as the kernel says
	Started                     uint64 // clock ticks since the machine's start
	Command                     string // name of the program, at most 15 bytes
}

// All reads the process table. What ends meanwhile is not in it.
//
// Source: proc(5), /proc/pid/stat.
func All() []Process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var all []Process
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := Read(pid); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// Read reads one line of the table; false if there is no such process.
func Read(pid int) (Process, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, false
	}
	// The name may hold anything, also parentheses: the last one ends it.
	opening, closing := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if opening < 0 || closing < opening {
		return Process{}, false
	}
	fields := strings.Fields(string(stat[closing+1:]))
	if len(fields) < 20 {
		return Process{}, false
	}
	p := Process{PID: pid, Status: fields[0][0], Command: string(stat[opening+1 : closing])}
	p.Parent, err = strconv.Atoi(fields[1])
	if err == nil {
		p.Group, err = strconv.Atoi(fields[2])
	}
	if err == nil {
		p.Session, err = strconv.Atoi(fields[3])
	}
	if err == nil {
		p.Started, err = strconv.ParseUint(fields[19], 10, 64)
	}
	return p, err == nil
}

// Lives tells whether the process is still that one, and no zombie.
func (p Process) Lives() bool {
	now, ok := Read(p.PID)
	return ok && now.Started == p.Started && now.Status != 'Z'
}

// Descends tells whether root is p or above it.
func Descends(all []Process, p Process, root int) bool {
	for range len(all) { // a table that changes while it is read may hold a circle
		if p.PID == root || p.Parent == root {
			return root != 0
		}
		i := slices.IndexFunc(all, func(above Process) bool { return above.PID == p.Parent })
		if i < 0 {
			return false
		}
		p = all[i]
	}
	return false
}

// Boot names the run of the machine: with it, PID and Started name a process for
// ever. Source: proc(5), /proc/sys/kernel/random/boot_id.
func Boot() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(id)), err
}

// MemoryKills counts the kernel's kills for want of memory in our control group,
// 0 where it does not say. Source: cgroup v2, memory.events.
func MemoryKills() int64 {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(own), "\n") {
		path, ok := strings.CutPrefix(line, "0::")
		if !ok {
			continue
		}
		events, err := os.ReadFile("/sys/fs/cgroup" + path + "/memory.events")
		if err != nil {
			return 0
		}
		for event := range strings.SplitSeq(string(events), "\n") {
			if count, ok := strings.CutPrefix(event, "oom_kill "); ok {
				n, err := strconv.ParseInt(count, 10, 64)
				if err != nil {
					return 0
				}
				return n
			}
		}
	}
	return 0
}
