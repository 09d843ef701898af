package server

import (
	"cmp"
	"context"

	"github.com/buildit-dev/buildit/internal/notify"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository"
)

// addChecks adds what tells git providers how runs go.
func (s *Server) addChecks(home platform.Home, runs *pipeline.Service, repositories *repository.Service, o Options) {
	checks := notify.New(home, runs, repositories, cmp.Or(append(o.Origins, "")...), o.Log)
	s.work = append(
		s.work,
		func(ctx context.Context) error { return home.Feed.Consume(ctx, "checks", checks.HandleChanges) },
		every(home.Clock, o.Log, "checks", checks.SendDue),
	)
}
