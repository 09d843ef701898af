package local

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/softkey"
)

// keyFile is the secret of a data folder, in base64 behind a line for people.
const keyFile = "key"

const keyHead = "BuildIt key 1: whoever reads this reads every secret of this data folder. Keep a copy apart from the folder's backup."

// createKeys makes the key file of a new data folder, or leaves the one that is there.
func createKeys(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	line := base64.StdEncoding.EncodeToString(softkey.NewSecret())
	return writeFile(path, []byte(keyHead+"\n"+line+"\n"))
}

// OpenKeys is the key port over a key file, which nobody but its owner may be able
// to read: otherwise ErrDenied, with the command that repairs it. A file that is not
// there is os.ErrNotExist.
func OpenKeys(path string) (*softkey.Keys, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("the key file can be read by others (mode %04o): run chmod 600 %s: %w", mode, path, platform.ErrDenied)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the key file: %w", fileError(err))
	}
	head, line, _ := bytes.Cut(content, []byte("\n"))
	secret, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
	if err != nil || string(head) != keyHead || len(secret) != softkey.SecretSize {
		return nil, fmt.Errorf("%s is not a key file of BuildIt, or is damaged: put your copy of it back", path)
	}
	return softkey.New(secret), nil
}
