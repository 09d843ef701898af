package supervisor

import (
	"os/exec"
	"testing"
)

func TestCommandsRunInOrder(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "echo one; echo two >&2", "printf three", "cat; echo four")}
	result := h.run(t)
	want(t, h, result, ReasonOK)
	if got := h.text(); got != "one\ntwo\nthreefour\n" {
		t.Errorf("log %q", got)
	}
	for i, lines := range [][2]int64{{1, 2}, {3, 3}, {3, 3}} {
		if c := result.Commands[i]; c.FirstLine != lines[0] || c.LastLine != lines[1] {
			t.Errorf("command %d has lines %d to %d, want %v", i, c.FirstLine, c.LastLine, lines)
		}
	}
	if last := h.parts[len(h.parts)-1]; !last.Final || result.LogLines != 3 || result.LogBytes != 18 {
		t.Errorf("last part %+v, %d lines, %d bytes", last, result.LogLines, result.LogBytes)
	}
}

func BenchmarkTrue(b *testing.B) {
	scratch, workspace := NewScratch(b.TempDir()), b.TempDir()
	for b.Loop() {
		h := &home{job: Job{Workspace: workspace, Shell: []string{"sh", "-e", "-c"}, Commands: []Command{{Script: "true"}}}}
		if _, err := Run(b.Context(), h, Options{Scratch: scratch, Env: []string{"PATH=/usr/bin:/bin"}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSh(b *testing.B) {
	for b.Loop() {
		c := exec.Command("/bin/sh", "-e", "-c", "true")
		if err := c.Run(); err != nil {
			b.Fatal(err)
		}
	}
}
