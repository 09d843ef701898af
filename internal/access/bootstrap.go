package access

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// DefaultOrg is the organization that the first start on one machine makes.
const DefaultOrg = "default"

// TokenFile is the owner's token in the data folder, where the CLI reads it.
const TokenFile = "token"

// Bootstrap makes sure that the organization and its owner's token are there: the
// row, and the token in a file of mode 0600 in the data folder. A second start
// finds both and changes nothing. A file that others can read is refused, because
// whoever has read it is owner.
func Bootstrap(ctx context.Context, credentials *Credentials, folder string) error {
	org := platform.System(DefaultOrg, "first start")
	_, err := credentials.table.Write(ctx, platform.Put{
		Key:  organizationRow(org),
		Item: platform.Item{"created": platform.Stamp(credentials.clock.Now())},
		If:   platform.NoRow,
	})
	if err != nil && !errors.Is(err, platform.ErrConditionFailed) {
		return fmt.Errorf("organization %s: %w", DefaultOrg, err)
	}
	path := filepath.Join(folder, TokenFile)
	token, err := ReadTokenFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		_, err := credentials.verify(ctx, token)
		if !problem.Is(err, problem.Unauthorized) {
			return err // nil: it is still good
		}
	}
	return credentials.writeOwner(ctx, org, path)
}

// writeOwner makes the owner's token and replaces the file, whole or not at all.
func (c *Credentials) writeOwner(ctx context.Context, org platform.Org, path string) error {
	secret, _, err := c.Issue(ctx, org, Token{Name: "owner of this machine", Role: Owner})
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), TokenFile+"-*") // 0600
	if err != nil {
		return fmt.Errorf("owner's token: %w", err)
	}
	_, errWrite := file.WriteString(secret + "\n")
	if err := errors.Join(errWrite, file.Sync(), file.Close()); err != nil {
		return errors.Join(fmt.Errorf("owner's token: %w", err), os.Remove(file.Name()))
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return errors.Join(fmt.Errorf("owner's token: %w", err), os.Remove(file.Name()))
	}
	return nil
}

const maxTokenFile = 4 << 10 // bytes

// ReadTokenFile reads a token from a file that nobody else can read.
func ReadTokenFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others (mode %04o): revoke the token if somebody may have, then `chmod 600 %s`",
			path, info.Mode().Perm(), path)
	}
	if info.Size() > maxTokenFile {
		return "", fmt.Errorf("%s is no token", path)
	}
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}
