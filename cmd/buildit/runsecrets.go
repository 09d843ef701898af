package main

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/mask"
)

// readSecrets takes secrets from the environment, and from a file that nobody
// else can read and that no commit holds.
func readSecrets(env *environment, flags runFlags, root string, git bool) (map[string]string, error) {
	secrets := make(map[string]string)
	if flags.secretFile != "" {
		path := flags.secretFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(env.dir, path)
		}
		if git && tracked(root, path) {
			return nil, fmt.Errorf("git tracks %s: whoever has the repository has its secrets; git rm --cached %[1]s, and give out new ones", flags.secretFile)
		}
		if err := readSecretFile(path, flags.secretFile, secrets); err != nil {
			return nil, err
		}
	}
	for _, name := range flags.secrets {
		value := env.getenv(name)
		if value == "" {
			return nil, fmt.Errorf("--secret %s: the environment has no variable %s", name, name)
		}
		secrets[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if mask.Refuse(secrets[name]) != "" { // its words may hold the value
			fmt.Fprintf(env.stderr, "buildit run: warning: secret %s stays readable in logs: it is too short or too common to be masked\n", name)
		}
	}
	return secrets, nil
}

// tracked tells whether git has the file.
func tracked(root, path string) bool {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	cmd := exec.Command("git", "ls-files", "--error-unmatch", "--", path)
	cmd.Dir = root
	return cmd.Run() == nil
}

func readSecretFile(path, shown string, secrets map[string]string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is no file", shown)
	case info.Mode().Perm()&0o077 != 0:
		err = fmt.Errorf("%s can be read by others; chmod 600 %s", shown, shown)
	default:
		err = parseSecrets(bufio.NewScanner(file), shown, secrets)
	}
	return errors.Join(err, file.Close())
}

// parseSecrets reads lines NAME=VALUE as .env files have them: # begins a comment
// line, `export ` may stand before the name, and a value may stand in quotes, single
// ones for what is meant as it is, double ones in which \n, \" and \\ are read. No
// message shows a value.
func parseSecrets(lines *bufio.Scanner, shown string, secrets map[string]string) error {
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		if !ok || !isVariable(name) {
			return fmt.Errorf("%s:%d: a line is NAME=VALUE", shown, number)
		}
		value, ok = unquote(strings.TrimSpace(value))
		if !ok {
			return fmt.Errorf("%s:%d: the quotes of %s have no end; a value of several lines is one in double quotes with \\n", shown, number, name)
		}
		if value == "" {
			return fmt.Errorf("%s:%d: %s is empty", shown, number, name)
		}
		secrets[name] = value
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", shown, err)
	}
	return nil
}

// isVariable tells whether a name can be one of an environment variable.
func isVariable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// unquote takes the quotes off a value; ok is false where they do not end it.
func unquote(value string) (text string, ok bool) {
	if value == "" || value[0] != '"' && value[0] != '\'' {
		return value, true
	}
	quote := value[0]
	if len(value) < 2 || value[len(value)-1] != quote {
		return "", false
	}
	inner := value[1 : len(value)-1]
	if quote == '\'' {
		return inner, !strings.Contains(inner, "'")
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		switch {
		case inner[i] == '"':
			return "", false
		case inner[i] != '\\':
			b.WriteByte(inner[i])
		case i+1 == len(inner):
			return "", false
		default:
			i++
			switch inner[i] {
			case 'n':
				b.WriteByte('\n')
			case '"', '\\', '$':
				b.WriteByte(inner[i])
			default:
				b.WriteByte('\\')
				b.WriteByte(inner[i])
			}
		}
	}
	return b.String(), true
}
