package secret

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/problem"
)

// Kind is how far a secret reaches.
type Kind string

// The kinds, in the order in which they are looked up: the narrowest wins.
const (
	OfPipeline     Kind = "pipeline"
	OfEnvironment  Kind = "environment"
	OfRepository   Kind = "repository"
	OfOrganization Kind = "organization"
)

// Scope is where a secret is valid. Its zero value is the organization.
type Scope struct {
	Repository  string // id
	Pipeline    string // name in the file, with Repository
	Environment string // name, without the others
}

// Kind is how far the scope reaches.
func (s Scope) Kind() Kind {
	switch {
	case s.Environment != "":
		return OfEnvironment
	case s.Pipeline != "":
		return OfPipeline
	case s.Repository != "":
		return OfRepository
	}
	return OfOrganization
}

// parts are the scope in keys.
func (s Scope) parts() []string {
	return []string{string(s.Kind()), s.Repository, s.Pipeline + s.Environment}
}

const maxScopeName = 200 // bytes of a pipeline's or an environment's name

func (s Scope) check() error {
	switch {
	case s.Environment != "" && (s.Repository != "" || s.Pipeline != ""):
		return problem.New(problem.Invalid, "A secret of an environment is of no repository: name the environment alone.").InField("environment")
	case s.Pipeline != "" && s.Repository == "":
		return problem.New(problem.Invalid, "A secret of a pipeline needs its repository too.").InField("repository")
	case len(s.Pipeline) > maxScopeName || !utf8.ValidString(s.Pipeline):
		return problem.New(problem.Invalid, "A pipeline's name has at most %d bytes of UTF-8.", maxScopeName).InField("pipeline")
	case len(s.Environment) > maxScopeName || !utf8.ValidString(s.Environment):
		return problem.New(problem.Invalid, "An environment's name has at most %d bytes of UTF-8.", maxScopeName).InField("environment")
	}
	return nil
}

const (
	maxName  = 100      // bytes
	maxValue = 64 << 10 // bytes
	minValue = 4        // characters: a shorter one would mask half of every log
)

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

func checkName(name string) error {
	if len(name) > maxName || !nameForm.MatchString(name) {
		return problem.New(problem.Invalid, "%.100q is no name of a secret: up to %d letters, digits, underscores, dashes and dots, the first a letter or underscore.", name, maxName).InField("name")
	}
	if strings.HasPrefix(strings.ToUpper(name), "BUILDIT_") {
		return problem.New(problem.Invalid, "Names that begin with BUILDIT_ are the platform's own.").InField("name")
	}
	return nil
}

// common are words that every log is full of: to mask them would hide the log and
// tell what the secret is.
var common = []string{
	"true", "false", "null", "none", "test", "main", "master", "root", "admin", "user", "name", "info", "debug", "warn", "warning",
	"error", "failed", "passed", "done", "password", "passwd", "secret", "token", "default", "production", "staging", "localhost",
	"undefined", "enabled", "disabled", "http", "https", "build", "latest", "1234", "12345", "123456", "0000",
}

// checkValue refuses what cannot be kept, and what cannot be masked. The value is in
// no message.
func checkValue(value string) error {
	refuse := func(format string, args ...any) error {
		return problem.New(problem.Invalid, format, args...).InField("value")
	}
	bare := strings.TrimSpace(value)
	switch {
	case len(value) > maxValue:
		return problem.New(problem.TooLarge, "A secret has at most %d bytes, and this one has %d.", maxValue, len(value)).InField("value")
	case utf8.RuneCountInString(bare) < minValue:
		return refuse("A secret has at least %d characters: a shorter one cannot be masked without hiding every place where it stands by chance. Something so short is a setting: use env.", minValue)
	}
	for _, word := range common {
		if strings.EqualFold(bare, word) {
			return refuse("The value is a common word. Masked, it would hide every such word in every log, and so tell what it is. Use env for a setting.")
		}
	}
	return nil
}

// Text is the scope as people say it; repository is its name.
func (s Scope) Text(repository string) string {
	switch s.Kind() {
	case OfEnvironment:
		return fmt.Sprintf("environment %s", s.Environment)
	case OfPipeline:
		return fmt.Sprintf("pipeline %s of %s", s.Pipeline, repository)
	case OfRepository:
		return fmt.Sprintf("repository %s", repository)
	}
	return "organization"
}
