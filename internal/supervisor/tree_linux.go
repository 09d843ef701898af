package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// process is one line of the process table.
type process struct {
	pid, parent, group int
	status             byte // R, S, D, T, Z, as the kernel says
	started            uint64
	command            string
}

// processes reads the process table. What ends meanwhile is not in it.
//
// Source: proc(5), /proc/pid/stat.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var all []process
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := readProcess(pid); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// readProcess reads one line of the process table.
func readProcess(pid int) (process, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// The name may hold anything, also parentheses: the last one ends it.
	opening, closing := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if opening < 0 || closing < opening {
		return process{}, false
	}
	fields := strings.Fields(string(stat[closing+1:]))
	if len(fields) < 20 {
		return process{}, false
	}
	p := process{pid: pid, status: fields[0][0], command: string(stat[opening+1 : closing])}
	p.parent, err = strconv.Atoi(fields[1])
	if err == nil {
		p.group, err = strconv.Atoi(fields[2])
	}
	if err == nil {
		p.started, err = strconv.ParseUint(fields[19], 10, 64)
	}
	return p, err == nil
}

// lives tells whether the process is still that one, and no zombie.
func (p process) lives() bool {
	now, ok := readProcess(p.pid)
	return ok && now.started == p.started && now.status != 'Z'
}

// descends tells whether root is p or above it.
func descends(all []process, p process, root int) bool {
	for range len(all) { // a table that changes while it is read may hold a circle
		if p.pid == root || p.parent == root {
			return root != 0
		}
		i := slices.IndexFunc(all, func(above process) bool { return above.pid == p.parent })
		if i < 0 {
			return false
		}
		p = all[i]
	}
	return false
}

// processTree prints processes for people, each below its parent, with its age
// left out: 40 lines at most.
func processTree(members []process) string {
	members = slices.DeleteFunc(members, func(p process) bool { return p.pid == os.Getpid() || p.status == 'Z' })
	slices.SortFunc(members, func(a, b process) int { return a.pid - b.pid })
	var tree strings.Builder
	lines := 0
	var print func(parent, depth int)
	print = func(parent, depth int) {
		for _, p := range members {
			inside := slices.ContainsFunc(members, func(above process) bool { return above.pid == p.parent })
			if (parent == 0 && inside) || (parent != 0 && p.parent != parent) || lines > 40 {
				continue
			}
			if lines++; lines > 40 {
				fmt.Fprintf(&tree, "  … and more, %d in all\n", len(members))
				return
			}
			fmt.Fprintf(&tree, "%s%d %s\n", strings.Repeat("  ", depth+1), p.pid, commandLine(p))
			print(p.pid, depth+1)
		}
	}
	print(0, 0)
	return tree.String()
}

// commandLine is what a process was called with, shortened.
func commandLine(p process) string {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
	if err != nil || len(line) == 0 {
		return "[" + p.command + "]"
	}
	text := strings.ToValidUTF8(strings.Join(strings.Fields(string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))), " "), "?")
	if runes := []rune(text); len(runes) > 120 {
		text = string(runes[:120]) + "…"
	}
	return text
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

// Adopt makes this process the parent of every orphan below it, so that a child
// which leaves its group is found all the same. Source: prctl(2).
func Adopt() error {
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// memoryKills counts the kernel's kills for want of memory in our control group,
// 0 where it does not say. Source: cgroup v2, memory.events.
func memoryKills() int64 {
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
