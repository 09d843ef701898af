package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// environment is what commands are started with, by name.
type environment struct {
	vars   map[string]string
	sorted []string // NAME=value, nil when vars have changed
}

// list is the environment as a process takes it.
func (e *environment) list() []string {
	if e.sorted == nil {
		e.sorted = make([]string, 0, len(e.vars))
		for name, value := range e.vars {
			e.sorted = append(e.sorted, name+"="+value)
		}
		slices.Sort(e.sorted)
	}
	return e.sorted
}

func (e *environment) set(name, value string) {
	e.vars[name] = value
	e.sorted = nil
}

// buildEnvironment puts the environment together, later wins: image, platform,
// the job's own, folders of this runner, secrets (pipelines.md 3.7).
func (a *attempt) buildEnvironment() error {
	e := &a.env
	e.vars = make(map[string]string, len(a.opt.Env)+len(a.job.Env)+20)
	for _, pair := range a.opt.Env {
		if name, value, ok := strings.Cut(pair, "="); ok {
			e.vars[name] = value
		}
	}
	e.vars["HOME"], e.vars["TMPDIR"] = a.folders.home, a.folders.tmp
	e.vars["TERM"], e.vars["FORCE_COLOR"] = "xterm-256color", "1"
	for name, value := range a.job.Env {
		if strings.ContainsRune(value, 0) {
			return failed(ReasonClassUnfit, "The variable %s holds a zero byte, which no environment can carry.", name)
		}
		e.vars[name] = value
	}
	for name, value := range a.ownVariables() {
		e.vars[name] = value
	}
	if a.job.Split != nil {
		e.vars["BUILDIT_SPLIT_FILES"] = a.folders.split()
	}
	for _, fetch := range a.job.Fetches {
		e.vars["ARTIFACT_"+variableName(fetch.Name)] = filepath.Join(a.folders.workspace, cmp.Or(fetch.Folder, fetch.To))
	}
	return a.addSecrets()
}

// ownVariables are those that only the runner knows.
func (a *attempt) ownVariables() map[string]string {
	return map[string]string{
		"BUILDIT_WORKSPACE":   a.folders.workspace,
		"BUILDIT_TMP":         a.folders.tmp,
		"BUILDIT_OUTPUT":      a.folders.output(),
		"BUILDIT_ENV":         a.folders.envFile(),
		"BUILDIT_ANNOTATIONS": a.folders.annotations(),
		"BUILDIT_SUMMARY":     a.folders.summary(),
		"BUILDIT_CLASS":       a.job.Class,
		"BUILDIT_ARCH":        runtime.GOARCH,
		"BUILDIT_OS":          runtime.GOOS,
		"BUILDIT_CPUS":        strconv.Itoa(a.opt.Hello.CPUs),
		"BUILDIT_MEMORY_MB":   strconv.Itoa(a.opt.Hello.MemoryMB),
	}
}

// variableName is a name in upper case, with _ for what a variable cannot have.
func variableName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') || r == '_':
			return r
		}
		return '_'
	}, name)
}

// forbidden tells whether commands may not set a variable for those after them:
// it would change which programs run, or what the platform says.
func forbidden(name string) bool {
	switch name {
	case "PATH", "HOME", "IFS", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "PS4":
		return true
	}
	for _, prefix := range []string{"BUILDIT_", "LD_", "DYLD_", "GIT_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// readAdditions takes over what the last command wrote to $BUILDIT_ENV.
func (e *environment) readAdditions(a *attempt) error {
	pairs, err := readAssignments(a.folders.envFile())
	if err != nil {
		return outputInvalid("$BUILDIT_ENV", err)
	}
	for _, pair := range pairs {
		old, known := e.vars[pair.name]
		switch {
		case known && old == pair.value:
		case forbidden(pair.name):
			a.notice("variable-refused", "$BUILDIT_ENV sets %s, which commands may not set for others; it is ignored.", pair.name)
		case strings.ContainsRune(pair.value, 0):
			return outputInvalid("$BUILDIT_ENV", fmt.Errorf("the value of %s holds a zero byte", pair.name))
		default:
			e.set(pair.name, pair.value)
		}
	}
	return nil
}

// readOutputs keeps the declared outputs of $BUILDIT_OUTPUT.
func (a *attempt) readOutputs() error {
	pairs, err := readAssignments(a.folders.output())
	if err != nil {
		return outputInvalid("$BUILDIT_OUTPUT", err)
	}
	for _, pair := range pairs {
		switch {
		case !slices.Contains(a.job.Outputs, pair.name):
			a.notice("output-undeclared", "The output %s is not declared by the stage; it is dropped. Add output %q to the stage.", pair.name, pair.name)
		case a.masks.In(pair.value):
			delete(a.result.Outputs, pair.name)
			a.notice("output-secret", "The output %s holds a secret; it is dropped.", pair.name)
		default:
			if a.result.Outputs == nil {
				a.result.Outputs = map[string]string{}
			}
			a.result.Outputs[pair.name] = pair.value
		}
	}
	return nil
}

func outputInvalid(file string, err error) error {
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	return &failure{reason: ReasonOutputInvalid, detail: fmt.Sprintf("%s is not valid: %v.", file, err), err: err}
}
