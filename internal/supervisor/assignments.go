package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"unicode/utf8"
)

// maxAssignments limits $BUILDIT_OUTPUT and $BUILDIT_ENV, in bytes.
const maxAssignments = 64 << 10

// assignment is a NAME with its value.
type assignment struct{ name, value string }

// readAssignments reads a file that commands may have written; none is no error.
// Commands may also have made it a link, a device, a pipe or endless: it is opened
// without following or waiting, and its size is looked at first.
func readAssignments(path string) ([]assignment, error) {
	text, err := readOwn(path, maxAssignments)
	if err != nil {
		return nil, err
	}
	return parseAssignments(text)
}

// readOwn reads such a file, of at most limit bytes; none is nil and no error.
func readOwn(path string, limit int64) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case errors.Is(err, syscall.ELOOP):
		return nil, errors.New("it is a link; write to the file itself")
	case err != nil:
		return nil, err
	}
	text, err := readRegular(file, limit)
	return text, errors.Join(err, file.Close())
}

func readRegular(file *os.File, limit int64) ([]byte, error) {
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file any more")
	case info.Size() > limit:
		return nil, fmt.Errorf("it has %d bytes; %d are allowed", info.Size(), limit)
	}
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("it has over %d bytes, the limit", limit)
	}
	return text, err
}

// maxVariable is the longest name of a variable, in bytes.
const maxVariable = 128

// isVariable tells whether a name is one of a shell's variables.
func isVariable(name []byte) bool {
	for i, c := range name {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return len(name) > 0 && len(name) <= maxVariable
}

// parseAssignments reads lines NAME=value, or NAME<<WORD, lines, WORD. Of a name
// that comes twice the last value counts, as in a shell.
func parseAssignments(text []byte) ([]assignment, error) {
	var list []assignment
	lines := bytes.Split(text, []byte{'\n'})
	for i := 0; i < len(lines); i++ {
		line := bytes.TrimSuffix(lines[i], []byte{'\r'})
		switch {
		case len(line) == 0:
			continue
		case !utf8.Valid(line):
			return nil, fmt.Errorf("line %d is not valid UTF-8", i+1)
		}
		name, value, ok := bytes.Cut(line, []byte{'='})
		if before, word, here := bytes.Cut(line, []byte("<<")); here && (!ok || len(before) < len(name)) {
			end := closing(lines, i+1, word)
			if end < 0 {
				return nil, fmt.Errorf("line %d: the word %q that ends the value never comes", i+1, word)
			}
			name, value, ok = before, bytes.Join(lines[i+1:end], []byte{'\n'}), true
			if !utf8.Valid(value) {
				return nil, fmt.Errorf("line %d: the value is not valid UTF-8", i+2)
			}
			i = end
		}
		if !ok || !isVariable(name) {
			return nil, fmt.Errorf("line %d: %q is not NAME=value", i+1, shorten(line))
		}
		list = append(list, assignment{string(name), string(value)})
	}
	return list, nil
}

// closing is the line from i on that is word alone, -1 for none.
func closing(lines [][]byte, i int, word []byte) int {
	for ; len(word) > 0 && i < len(lines); i++ {
		if bytes.Equal(bytes.TrimSuffix(lines[i], []byte{'\r'}), word) {
			return i
		}
	}
	return -1
}

// shorten cuts a text for a message.
func shorten(text []byte) string {
	if len(text) <= 60 {
		return string(text)
	}
	return string(bytes.ToValidUTF8(text[:60], nil)) + "…"
}
