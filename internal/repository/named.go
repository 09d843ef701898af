package repository

import (
	"context"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Named finds a connected repository by its id or name, for who needs no more of it.
func Named(table platform.Table) func(ctx context.Context, org platform.Org, idOrName string) (id, name string, err error) {
	s := &Service{home: platform.Home{Table: table}}
	return func(ctx context.Context, org platform.Org, idOrName string) (id, name string, err error) {
		r, err := s.Get(ctx, org, idOrName)
		return r.ID, r.Name, err
	}
}
