package server

import (
	"context"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/secret"
)

// secretsOf is the store of secrets as package pipeline sees it.
func secretsOf(store *secret.Service) pipeline.SecretSource {
	return func(ctx context.Context, org platform.Org, by pipeline.SecretUser, name string) (string, error) {
		return store.Value(ctx, org, secret.Asker{
			Repository: by.Trigger.Repository, Pipeline: by.Pipeline, Environment: by.Environment, Run: string(by.Run), Stage: by.Stage,
		}, name)
	}
}
