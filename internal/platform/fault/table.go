package fault

import (
	"context"

	"github.com/buildit-dev/buildit/internal/platform"
)

type table struct {
	port
	to platform.Table
}

// Table is a table whose calls go as planned.
func Table(to platform.Table, plan Plan) platform.Table { return table{wrap("table", plan), to} }

func (t table) Get(ctx context.Context, key platform.RowKey) (platform.Item, error) {
	return call(ctx, t.port, "Get", func() (platform.Item, error) { return t.to.Get(ctx, key) })
}

func (t table) GetMany(ctx context.Context, keys []platform.RowKey) ([]platform.Row, error) {
	return call(ctx, t.port, "GetMany", func() ([]platform.Row, error) { return t.to.GetMany(ctx, keys) })
}

func (t table) Write(ctx context.Context, action platform.Action) (platform.Item, error) {
	return call(ctx, t.port, "Write", func() (platform.Item, error) { return t.to.Write(ctx, action) })
}

func (t table) Transact(ctx context.Context, token string, actions ...platform.Action) error {
	return try(ctx, t.port, "Transact", func() error { return t.to.Transact(ctx, token, actions...) })
}

func (t table) PutMany(ctx context.Context, rows []platform.Row) error {
	return try(ctx, t.port, "PutMany", func() error { return t.to.PutMany(ctx, rows) })
}

func (t table) Query(ctx context.Context, q platform.Query) (platform.Page, error) {
	return call(ctx, t.port, "Query", func() (platform.Page, error) { return t.to.Query(ctx, q) })
}
