package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/buildit-dev/buildit/internal/mask"
	"github.com/buildit-dev/buildit/internal/platform"
)

// fetchSecrets gets the values that the job names, before anything runs, and
// builds the masks from them.
func (a *attempt) fetchSecrets(calls context.Context) error {
	if len(a.job.Secrets) > 0 {
		values, err := a.control.Secrets(calls)
		switch {
		case errors.Is(err, platform.ErrNotFound):
			return &failure{ReasonSecretMissing, "A secret has no value: " + err.Error(), err}
		case errors.Is(err, platform.ErrDenied):
			return &failure{ReasonSecretUntrusted, "The stage gets no secrets: " + err.Error(), err}
		case err != nil:
			return fmt.Errorf("the secrets did not come: %w", err)
		}
		a.secrets = values
	}
	var masked []string
	if a.opt.Masked != nil {
		masked = a.opt.Masked()
	}
	var missing []string
	for _, use := range a.job.Secrets {
		value, ok := a.secrets[use.Name]
		if !ok {
			missing = append(missing, use.Name)
			continue
		}
		masked = append(masked, value)
	}
	a.masks = mask.Compile(masked...)
	if missing != nil {
		return failed(ReasonSecretMissing, "There is no value for the secret %s. Set it with `buildit secret set`, for `buildit run` with --secret or --secret-file.", strings.Join(missing, ", "))
	}
	return nil
}

// addSecrets hands the secrets to the commands, last, so that nothing hides them.
func (a *attempt) addSecrets() error {
	for i, use := range a.job.Secrets {
		value := a.secrets[use.Name]
		if use.File {
			path, err := a.secretFile(i, value)
			if err != nil {
				return a.diskTrouble(err)
			}
			value = path
		} else if strings.ContainsRune(value, 0) {
			return failed(ReasonSecretMissing, "The secret %s holds a zero byte, which no variable can carry; use file=true.", use.Name)
		}
		a.env.set(use.As, value)
	}
	return nil
}

// secretFile writes a secret that only the user of the commands can read. On Linux
// the folder is in memory where the runner has one, so that no disk keeps it.
func (a *attempt) secretFile(i int, value string) (path string, err error) {
	if a.folders.secretDir == "" {
		if err := a.folders.makeSecrets(); err != nil {
			return "", err
		}
	}
	path = a.folders.secretDir + "/" + strconv.Itoa(i)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = file.WriteString(value)
	return path, errors.Join(err, file.Close())
}
