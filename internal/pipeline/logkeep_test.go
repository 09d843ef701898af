package pipeline

import (
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/logs"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

func TestFloodIsTold(t *testing.T) {
	t.Parallel()
	s := &Service{Parts: Parts{Logs: &LogStore{}}}
	if told := s.floodNotice(supervisor.Result{LogBytes: logKeep + logs.TailBytes}); told != nil {
		t.Errorf("all of it is kept, and: %v", told)
	}
	told := s.floodNotice(supervisor.Result{LogBytes: 3 << 30})
	if len(told) != 1 || told[0].Code != "log-cut" || !strings.Contains(told[0].Text, "3072 MiB") {
		t.Errorf("%v", told)
	}
}
