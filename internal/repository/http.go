package repository

import (
	"net/http"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/forge"
)

// Routes are this package's part of the API.
func (s *Service) Routes() []access.Route {
	one := access.InPath("repository")
	return []access.Route{
		{
			Pattern: "POST /api/v1/orgs/{org}/repositories", Action: access.RepositoryConnect, Resource: access.OfOrg(),
			Summary: "Connect a repository and see what it holds", In: connectBody{}, Out: Connected{},
			Status: http.StatusCreated, Secret: true, Handle: s.postRepository,
		},
		{
			Pattern: "GET /api/v1/orgs/{org}/repositories", Action: access.RepositoryRead, Resource: access.OfOrg(),
			Summary: "List the connected repositories", Out: access.Page[Repository]{}, Query: access.WindowQuery(nil), Handle: s.getRepositories,
		},
		{
			Pattern: "GET /api/v1/orgs/{org}/repositories/{repository}", Action: access.RepositoryRead, Resource: one,
			Summary: "Show a repository, by id or name", Out: Repository{}, Handle: s.getRepository,
		},
		{
			Pattern: "DELETE /api/v1/orgs/{org}/repositories/{repository}", Action: access.RepositoryConnect, Resource: one,
			Summary: "Disconnect a repository; its runs stay", Status: http.StatusNoContent, Handle: s.deleteRepository,
		},
		{
			Pattern: "POST /api/v1/orgs/{org}/repositories/{repository}/confirm", Action: access.RepositoryConnect, Resource: one,
			Summary: "Have pushes run the repository's pipelines, or not any more", In: ConfirmRequest{}, Out: Repository{}, Handle: s.postConfirm,
		},
		{
			Pattern: "POST /api/v1/orgs/{org}/repositories/{repository}/scan", Action: access.RepositoryScan, Resource: one,
			Summary: "Scan the default branch, or a commit, for what can be worked with", In: ScanRequest{}, Out: ScanResult{}, Handle: s.postScan,
		},
		{
			Pattern: "GET /api/v1/orgs/{org}/repositories/{repository}/scan", Action: access.RepositoryRead, Resource: one,
			Summary: "Show what the last scan found", Out: ScanResult{}, Handle: s.getScan,
		},
		{
			Pattern: "POST /api/v1/orgs/{org}/repositories/{repository}/sync", Action: access.RepositoryScan, Resource: one,
			Summary: "Look at the remote now and start what is missing", Out: Looked{}, Handle: s.postSync,
		},
		{
			Pattern: "GET /api/v1/orgs/{org}/repositories/{repository}/schedules", Action: access.RepositoryRead, Resource: one,
			Summary: "List the schedules of the default branch's pipelines: the next tick, the last run", Out: ScheduleList{}, Handle: s.getSchedules,
		},
		{
			Pattern: "GET /api/v1/orgs/{org}/repositories/{repository}/deliveries", Action: access.RepositoryRead, Resource: one,
			Summary: "List the webhook's deliveries, the newest first", Out: access.Page[Delivery]{}, Query: access.WindowQuery(nil), Handle: s.getDeliveries,
		},
		{
			Pattern: "POST /api/v1/orgs/{org}/repositories/{repository}/webhook-secret", Action: access.RepositoryConnect, Resource: one,
			Summary: "Make a new secret for the webhook; the old one holds for a day", In: RotateRequest{}, Out: Webhook{}, Secret: true, Handle: s.postSecret,
		},
		{
			Pattern: "PUT /api/v1/orgs/{org}/repositories/{repository}/token", Action: access.RepositoryConnect, Resource: one,
			Summary: "Replace the token for clones and the provider's API", In: TokenRequest{}, Out: Repository{}, Handle: s.putToken,
		},
		{
			Pattern: "POST /api/v1/orgs/{org}/runs", Action: access.PipelineRun, Resource: access.OfOrg(),
			Summary: "Start a run of a pipeline by hand, at the head of a branch",
			In:      StartRequest{}, Out: Started{}, Status: http.StatusCreated, Handle: s.postRun,
		},
		{
			Pattern: "POST /webhooks/{provider}/{repository}", Action: access.WebhookDeliver,
			Resource: access.Public("a delivery is opened by the provider's proof over its raw bytes"),
			Summary:  "Take a delivery of a git provider", Out: Accepted{}, Status: http.StatusAccepted,
			MaxBody: forge.MaxBody + 1, Raw: true, Rate: deliveryRate, Handle: s.postDelivery,
		},
	}
}

// deliveryRate is what one address may deliver: a provider sends all its
// deliveries from few of them.
var deliveryRate = access.Rate{PerSecond: 500, Burst: 5000}

// connectBody is a ConnectRequest as it travels. Whoever connects a repository
// wants its pushes to run, so that is meant where nothing is said; stacks and
// applications are proposed and wait for a confirmation of their own.
type connectBody struct {
	ConnectRequest
	RunPipelines *bool `json:"run_pipelines,omitempty"`
}

// ConfirmRequest says whether pushes run pipelines.
type ConfirmRequest struct {
	RunPipelines bool `json:"run_pipelines"`
}

// ScanRequest chooses a commit; the head of the default branch if it is empty.
type ScanRequest struct {
	Commit string `json:"commit,omitempty"`
}

// RotateRequest brings a secret that the provider made, or none.
type RotateRequest struct {
	WebhookSecret string `json:"webhook_secret,omitempty"`
}

func (s *Service) postRepository(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[connectBody](r)
	if err != nil {
		return nil, err
	}
	in.ConnectRequest.RunPipelines = in.RunPipelines == nil || *in.RunPipelines
	return s.Connect(r.Context(), caller.Org, in.ConnectRequest)
}

func (s *Service) getRepositories(r *http.Request, caller access.Caller) (any, error) {
	window, err := access.ParseWindow(r)
	if err != nil {
		return nil, err
	}
	list, cursor, err := s.List(r.Context(), caller.Org, window.Limit, window.Cursor)
	return access.NewPage(list, cursor), window.Error(err)
}

func (s *Service) getRepository(r *http.Request, caller access.Caller) (any, error) {
	found, err := s.Get(r.Context(), caller.Org, r.PathValue("repository"))
	if err != nil {
		return nil, err
	}
	return s.withHealth(r.Context(), caller.Org, found)
}

func (s *Service) deleteRepository(r *http.Request, caller access.Caller) (any, error) {
	return nil, s.Disconnect(r.Context(), caller.Org, r.PathValue("repository"))
}

func (s *Service) postConfirm(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[ConfirmRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Confirm(r.Context(), caller.Org, r.PathValue("repository"), in.RunPipelines)
}

func (s *Service) postScan(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[ScanRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Scan(r.Context(), caller.Org, r.PathValue("repository"), in.Commit)
}

func (s *Service) getScan(r *http.Request, caller access.Caller) (any, error) {
	return s.LastScan(r.Context(), caller.Org, r.PathValue("repository"))
}

func (s *Service) postSync(r *http.Request, caller access.Caller) (any, error) {
	return s.Sync(r.Context(), caller.Org, r.PathValue("repository"))
}

func (s *Service) getDeliveries(r *http.Request, caller access.Caller) (any, error) {
	window, err := access.ParseWindow(r)
	if err != nil {
		return nil, err
	}
	list, cursor, err := s.Deliveries(r.Context(), caller.Org, r.PathValue("repository"), window.Limit, window.Cursor)
	return access.NewPage(list, cursor), window.Error(err)
}

func (s *Service) putToken(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[TokenRequest](r)
	if err != nil {
		return nil, err
	}
	return s.SetToken(r.Context(), caller.Org, r.PathValue("repository"), in)
}

func (s *Service) postSecret(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[RotateRequest](r)
	if err != nil {
		return nil, err
	}
	return s.RotateSecret(r.Context(), caller.Org, r.PathValue("repository"), in.WebhookSecret)
}
