package access_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/access"
)

func TestTokensAreNotLogged(t *testing.T) {
	t.Parallel()
	h := open(t)
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: access.Redact}))
	for _, token := range []string{h.token("acme", access.Owner), h.jobToken("acme")} {
		log.Error("message "+token, "text", "GET /x?ticket="+token+"&y", "err", errors.New("dial "+token+": refused"))
		secret := token[len(token)-20:]
		if strings.Contains(out.String(), secret) || strings.Count(out.String(), "[token]") != 3 {
			t.Errorf("logged: %s", out.String())
		}
		out.Reset()
	}
	log.Info("plain", "count", 3, "err", errors.New("bt_ is only the beginning"))
	if strings.Contains(out.String(), "[token]") || !strings.Contains(out.String(), `"count":3`) {
		t.Errorf("logged: %s", out.String())
	}
}
