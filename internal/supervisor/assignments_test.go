package supervisor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

func TestParseAssignments(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]assignment{
		"":                               nil,
		"a=1\nB_2=two words\n\nc=":       {{"a", "1"}, {"B_2", "two words"}, {"c", ""}},
		"a=x=y\r\nb=1\r\n":               {{"a", "x=y"}, {"b", "1"}},
		"a<<END\none\n\ntwo=2\nEND\nb=1": {{"a", "one\n\ntwo=2"}, {"b", "1"}},
		"a=1<<2\n":                       {{"a", "1<<2"}},
		"a<<E\nE\n":                      {{"a", ""}},
		"a=1\na=2":                       {{"a", "1"}, {"a", "2"}},
	} {
		got, err := parseAssignments([]byte(text))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, words := range map[string]string{
		"a=1\nno assignment":            "line 2",
		"1a=x":                          "line 1",
		"a b=x":                         "line 1",
		"a<<END\nnever":                 "never comes",
		"a<<\nx\n":                      "never comes",
		"a=\xff":                        "line 1 is not valid UTF-8",
		"a<<E\n\xff\nE":                 "not valid UTF-8",
		strings.Repeat("a", 200) + "=1": "line 1",
	} {
		if got, err := parseAssignments([]byte(text)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// OutputFileIsASymlink, a pipe, a folder, too large, 1 TB sparse: none is read, and
// none holds the supervisor.
func TestOutputFileIsASymlink(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(path string) error{
		"symlink": func(path string) error { return os.Symlink("/etc/passwd", path) },
		"pipe":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"folder":  func(path string) error { return os.Mkdir(path, 0o700) },
		"large": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("a=1\n", maxAssignments/4+1)), 0o600)
		},
		"sparse": func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 1<<40)
		},
	} {
		path := filepath.Join(t.TempDir(), "output")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if got, err := readAssignments(path); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	h := &home{job: jobOf(t, `ln -s /etc/passwd "$BUILDIT_OUTPUT"`)}
	want(t, h, h.run(t), ReasonOutputInvalid)
}

// T32: what commands may not set for others.
func TestT32ForbiddenVariables(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"PATH": true, "HOME": true, "LD_PRELOAD": true, "DYLD_INSERT_LIBRARIES": true, "IFS": true, "ENV": true, "BASH_ENV": true,
		"GIT_SSH_COMMAND": true, "BUILDIT_TRUST": true, "GOPATH": false, "MYPATH": false, "LDFLAGS": false,
	} {
		if forbidden(name) != want {
			t.Errorf("forbidden(%s) = %v", name, !want)
		}
	}
}

// FuzzAssignments: what is parsed has names that a shell takes and valid text, and
// written again it is read the same.
func FuzzAssignments(f *testing.F) {
	f.Add([]byte("a=1\nb<<END\nx\nEND\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseAssignments(text)
		if err != nil {
			t.Skip(err)
		}
		var again strings.Builder
		for _, pair := range list {
			if !isVariable([]byte(pair.name)) || !utf8.ValidString(pair.value) {
				t.Errorf("%q = %q", pair.name, pair.value)
			}
			if strings.ContainsAny(pair.value, "\n\r") {
				continue
			}
			again.WriteString(pair.name + "=" + pair.value + "\n")
		}
		plain := slices.DeleteFunc(slices.Clone(list), func(p assignment) bool { return strings.ContainsAny(p.value, "\n\r") })
		if got, err := parseAssignments([]byte(again.String())); err != nil || !slices.Equal(got, plain) {
			t.Errorf("%v became %v, %v", plain, got, err)
		}
	})
}
