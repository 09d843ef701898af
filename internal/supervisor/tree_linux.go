package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// processTree prints processes for people, each below its parent, with its age
// left out: 40 lines at most.
func processTree(members []proctable.Process) string {
	members = slices.DeleteFunc(members, func(p proctable.Process) bool { return p.PID == os.Getpid() || p.Status == 'Z' })
	slices.SortFunc(members, func(a, b proctable.Process) int { return a.PID - b.PID })
	var tree strings.Builder
	lines := 0
	var print func(parent, depth int)
	print = func(parent, depth int) {
		for _, p := range members {
			inside := slices.ContainsFunc(members, func(above proctable.Process) bool { return above.PID == p.Parent })
			if (parent == 0 && inside) || (parent != 0 && p.Parent != parent) || lines > 40 {
				continue
			}
			if lines++; lines > 40 {
				fmt.Fprintf(&tree, "  … and more, %d in all\n", len(members))
				return
			}
			fmt.Fprintf(&tree, "%s%d %s\n", strings.Repeat("  ", depth+1), p.PID, commandLine(p))
			print(p.PID, depth+1)
		}
	}
	print(0, 0)
	return tree.String()
}

// commandLine is what a process was called with, shortened.
func commandLine(p proctable.Process) string {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
	if err != nil || len(line) == 0 {
		return "[" + p.Command + "]"
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

// EndAdopted kills what Adopt has brought to this process and is still there: the
// daemons of commands that have ended. It is for the end of a process that waits
// for no child any more, and costs one system call if there is none.
func EndAdopted() error {
	for range adoptedRounds {
		pid, waitErr := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case errors.Is(waitErr, syscall.EINTR), pid > 0:
			continue
		case waitErr != nil:
			return nil // no child is left
		}
		all := proctable.All()
		for _, p := range all {
			if p.PID != os.Getpid() && proctable.Descends(all, p, os.Getpid()) {
				if killErr := syscall.Kill(p.PID, syscall.SIGKILL); killErr != nil && !errors.Is(killErr, syscall.ESRCH) {
					return fmt.Errorf("process %d outlives the run: %w", p.PID, killErr)
				}
			}
		}
		time.Sleep(time.Millisecond) // the kernel tells nobody when the last of them is gone
	}
	return errors.New("processes of the commands outlive the run")
}

// adoptedRounds bounds how often EndAdopted looks, at least 1 ms apart.
const adoptedRounds = 1000
