package supervisor

import "context"

func (a *attempt) prepareSource(ctx context.Context) error  { return nil }
func (a *attempt) fetchArtifacts(ctx context.Context) error { return nil }
func (a *attempt) finish(ctx, calls context.Context, end error) error {
	if end != nil {
		return end
	}
	return a.readOutputs()
}
