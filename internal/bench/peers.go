package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// stage is one stage of a workload, in no tool's language.
type stage struct {
	name  string
	needs []string
	run   string
}

// peer is a program that can run a workload from a folder. write puts its file
// there; command runs it.
type peer struct {
	name    string
	program string
	write   func(dir string, stages []stage) error
	args    func(dir string) []string
}

func peers(root string) []peer {
	return []peer{
		{"buildit run", filepath.Join(root, "bin", "buildit"), writeKDL, func(string) []string { return []string{"run"} }},
		{"drone-runner-exec", "drone-runner-exec", writeDrone, func(dir string) []string {
			return []string{"exec", "--pretty", dir, "drone.yml"}
		}},
		{"woodpecker-cli", "woodpecker-cli", writeWoodpecker, func(string) []string {
			return []string{"exec", "--backend-engine", "local", "--disable-update-check", "--repo-path", ".", "woodpecker.yml"}
		}},
		{"act", "act", writeAct, func(string) []string {
			return []string{"push", "-W", "act.yml", "-P", "ubuntu-latest=-self-hosted"}
		}},
		{"make -j", "make", writeMake, func(string) []string { return []string{"-j", "--no-print-directory", "all"} }},
	}
}

// find looks for a peer on the PATH and in the cache folder that `make bench` fills.
func (p peer) find() (string, bool) {
	if path, err := exec.LookPath(p.program); err == nil {
		return path, true
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", false
	}
	found, err := filepath.Glob(filepath.Join(cache, "buildit", p.program+"-*", p.program))
	if err != nil || len(found) == 0 {
		return "", false
	}
	return found[len(found)-1], true
}

// workload makes a git repository with the stages in every tool's language.
func workload(ctx context.Context, dir string, stages []stage, all []peer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range all {
		if err := p.write(dir, stages); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"config", "user.name", "bench"},
		{"config", "user.email", "bench@example.com"},
		{"remote", "add", "origin", "https://example.com/bench/bench.git"},
		{"add", "--all"},
		{"commit", "--quiet", "--message", "workload"},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

func writeKDL(dir string, stages []stage) error {
	var b strings.Builder
	b.WriteString("pipeline \"bench\"\n")
	for _, s := range stages {
		fmt.Fprintf(&b, "stage %q {\n", s.name)
		for _, need := range s.needs {
			fmt.Fprintf(&b, "    needs %q\n", need)
		}
		fmt.Fprintf(&b, "    run %q\n}\n", s.run)
	}
	return os.WriteFile(filepath.Join(dir, ".buildit.kdl"), []byte(b.String()), 0o644)
}

func writeDrone(dir string, stages []stage) error {
	return writeSteps(filepath.Join(dir, "drone.yml"), "kind: pipeline\ntype: exec\nname: bench\nclone: {disable: true}\n", "", stages)
}

func writeWoodpecker(dir string, stages []stage) error {
	return writeSteps(filepath.Join(dir, "woodpecker.yml"), "skip_clone: true\n", "  image: bash\n", stages)
}

// writeSteps writes the form that both of them read, with what each wants besides.
func writeSteps(file, head, each string, stages []stage) error {
	var b strings.Builder
	b.WriteString(head + "steps:\n")
	for _, s := range stages {
		fmt.Fprintf(&b, "- name: %s\n%s  commands: [%q]\n  depends_on: [%s]\n", s.name, each, s.run, strings.Join(s.needs, ", "))
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

func writeAct(dir string, stages []stage) error {
	var b strings.Builder
	b.WriteString("on: push\njobs:\n")
	for _, s := range stages {
		fmt.Fprintf(&b, "  %s:\n    runs-on: ubuntu-latest\n    needs: [%s]\n    steps:\n    - run: %q\n", s.name, strings.Join(s.needs, ", "), s.run)
	}
	return os.WriteFile(filepath.Join(dir, "act.yml"), []byte(b.String()), 0o644)
}

func writeMake(dir string, stages []stage) error {
	var b strings.Builder
	b.WriteString("all:")
	for _, s := range stages {
		b.WriteString(" " + s.name)
	}
	b.WriteString("\n")
	for _, s := range stages {
		fmt.Fprintf(&b, ".PHONY: %s\n%s: %s\n\t@%s\n", s.name, s.name, strings.Join(s.needs, " "), s.run)
	}
	return os.WriteFile(filepath.Join(dir, "Makefile"), []byte(b.String()), 0o644)
}
