package repository

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
	"github.com/buildit-dev/buildit/internal/repository/scan"
)

// ConnectRequest asks to follow a repository.
type ConnectRequest struct {
	URL      string `json:"url"`                // https, http or file
	Name     string `json:"name,omitempty"`     // the URL's last part if empty
	Provider string `json:"provider,omitempty"` // by the URL's host if empty
	// ProviderID is the provider's own id of the repository. Left out, the first
	// delivery with the right proof and the right name binds it.
	ProviderID string `json:"provider_id,omitempty"`
	Token      string `json:"token,omitempty"` // of a private repository; read is enough
	// WebhookSecret is for a secret that the provider made (GitLab's signing token,
	// whsec_…); else BuildIt makes one.
	WebhookSecret string `json:"webhook_secret,omitempty"`
	// RunPipelines has pushes run the pipelines that are found. Else confirm does.
	RunPipelines bool `json:"run_pipelines,omitempty"`
}

// Connected is what connecting answers: what to set up at the provider, and what
// the repository holds.
type Connected struct {
	Repository Repository   `json:"repository"`
	Webhook    *Webhook     `json:"webhook,omitempty"`
	Scan       *scan.Result `json:"scan,omitempty"`
	Commit     string       `json:"commit,omitempty"` // that was scanned
	Notice     string       `json:"notice,omitempty"` // why it was not scanned
}

// Webhook is what the provider must be told. Secret is shown once.
type Webhook struct {
	Path   string   `json:"path"` // below this platform's address
	Secret string   `json:"secret"`
	Events []string `json:"events"`
}

const (
	maxToken  = 4096 // bytes, as much as a key wraps
	maxSecret = 512
)

// Connect registers a repository, remembers the heads that it has, so that only
// what is pushed from now on makes runs, and says what it holds. Nothing else is
// created.
func (s *Service) Connect(ctx context.Context, org platform.Org, in ConnectRequest) (Connected, error) {
	r, err := s.plan(ctx, org, in)
	if err != nil {
		return Connected{}, err
	}
	remote, err := s.ask(ctx, org, r)
	if err != nil {
		return Connected{}, err
	}
	out, err := s.register(ctx, org, r, in.WebhookSecret, remote)
	if err == nil {
		s.propose(ctx, org, &out, remote)
		s.enrolAndLog(ctx, org, out.Repository, remote)
	}
	return out, errors.Join(err, remote.Close())
}

// plan checks a request and makes the repository of it.
func (s *Service) plan(ctx context.Context, org platform.Org, in ConnectRequest) (Repository, error) {
	at, err := git.ParseURL(in.URL)
	if err != nil {
		return Repository{}, err
	}
	r := Repository{
		ID: s.newID(ctx), Name: in.Name, URL: at, Provider: in.Provider, ProviderID: in.ProviderID,
		Status: Active, RunPipelines: in.RunPipelines, Created: s.home.Clock.Now().UTC(), version: 1,
	}
	if r.Name == "" {
		r.Name = nameOf(at)
	}
	if r.Name, err = parseName(r.Name); err != nil {
		return Repository{}, err
	}
	if r.Provider == "" {
		r.Provider = providerOf(at)
	}
	switch {
	case !slices.Contains([]string{Plain, GitHub, GitLab, Bitbucket}, r.Provider):
		return Repository{}, problem.New(problem.Invalid, "%q is no provider: github, gitlab, bitbucket, or plain for any other git server.", r.Provider).InField("provider")
	case len(in.ProviderID) > 64:
		return Repository{}, problem.New(problem.Invalid, "A provider's id has at most 64 characters.").InField("provider_id")
	case len(in.Token) > maxToken:
		return Repository{}, problem.New(problem.Invalid, "A token has at most %d bytes.", maxToken).InField("token")
	case len(in.WebhookSecret) > maxSecret:
		return Repository{}, problem.New(problem.Invalid, "A webhook's secret has at most %d bytes.", maxSecret).InField("webhook_secret")
	case in.WebhookSecret != "" && len(in.WebhookSecret) < 16:
		return Repository{}, problem.New(problem.Invalid, "A webhook's secret has at least 16 characters; leave it out and BuildIt makes one.").InField("webhook_secret")
	}
	if in.Token != "" {
		r.credential, err = s.home.Keys.Wrap(ctx, []byte(in.Token), keyContext(org, r.ID, "token"))
	}
	return r, err
}

// newID is derived from the operation where there is one, so that a repeat of the
// request makes the same repository.
func (s *Service) newID(ctx context.Context) string {
	if op := access.OperationID(ctx); op != "" {
		return "r" + digest([]byte(op))[:25]
	}
	return s.home.IDs.New()
}

// register writes the refs first, which nobody sees before the repository is there,
// then everything else at once.
func (s *Service) register(ctx context.Context, org platform.Org, r Repository, secret string, remote *git.Remote) (Connected, error) {
	r.DefaultBranch = remote.DefaultBranch()
	var baseline []platform.Row
	for _, ref := range remote.Refs() {
		if n := ref.PullRequest(); n > 0 {
			r.pulls = max(r.pulls, n)
			continue
		}
		baseline = append(baseline, platform.Row{Key: refRowKey(org, r.ID, ref), Item: platform.Item{
			"head": platform.Text(remote.Head(ref)), "generation": platform.Int(1), "done": platform.Int(1),
		}})
	}
	if err := s.home.Table.PutMany(ctx, baseline); err != nil {
		return Connected{}, err
	}
	out := Connected{Repository: r}
	actions := []platform.Action{
		platform.Put{Key: nameRow(org, r.Name), Item: platform.Item{"id": platform.Text(r.ID)}, If: platform.NoRow},
		platform.Put{
			Key:  repositoryRow(org, r.ID),
			Item: r.item().InList(listOf(org).Index(r.Name)).DueAt(dueAt(s.nextLook(r))), If: platform.NoRow,
		},
		platform.Put{Key: eventRow(org, r.ID, r.version), Item: platform.Item{
			"event": platform.Text("connected"), "status": platform.Text(r.Status), "at": platform.Stamp(r.Created),
		}},
	}
	if r.Provider != Plain {
		if secret == "" {
			secret = newSecret()
		}
		hook, err := s.newHook(ctx, org, r, secret)
		if err != nil {
			return Connected{}, err
		}
		actions = append(actions, platform.Put{Key: hookRow(r.ID), Item: hook, If: platform.NoRow})
		out.Webhook = webhookOf(r, secret)
	}
	err := s.home.Table.Transact(ctx, "", actions...)
	if platform.FailedAt(err, 0) && platform.OldRow(err, 0).Text("id") != r.ID {
		return Connected{}, problem.New(problem.Exists, "A repository named %s is connected already. Give this one another name.", r.Name).InField("name")
	}
	if errors.Is(err, platform.ErrConditionFailed) {
		return Connected{}, problem.New(problem.Exists, "This request was made before, and has connected %s. If its webhook's secret is lost, rotate it.", r.Name)
	}
	return out, err
}

// newSecret has 260 random bits and no character that a form or a shell could spoil.
func newSecret() string { return rand.Text() + rand.Text() }

func webhookOf(r Repository, secret string) *Webhook {
	events := map[string][]string{
		GitHub:    forge.HookEvents[GitHub],
		GitLab:    {"Push events", "Tag push events", "Merge request events"},
		Bitbucket: forge.HookEvents[Bitbucket],
	}
	return &Webhook{Path: webhookPath(r), Secret: secret, Events: events[r.Provider]}
}

// newHook is the row by which the intake knows a hook.
func (s *Service) newHook(ctx context.Context, org platform.Org, r Repository, secret string) (platform.Item, error) {
	if forge.SigningSecret(secret) {
		if _, err := base64.StdEncoding.DecodeString(secret[len("whsec_"):]); err != nil || r.Provider != GitLab {
			return nil, problem.New(problem.Invalid, "whsec_… is a signing token of GitLab, and what follows is base64.").InField("webhook_secret")
		}
	}
	wrapped, err := s.home.Keys.Wrap(ctx, []byte(secret), keyContext(org, r.ID, "webhook"))
	if err != nil {
		return nil, err
	}
	hook := platform.Item{
		"org": platform.Text(org.ID()), "repository": platform.Text(r.ID), "provider": platform.Text(r.Provider),
		"name": platform.Text(r.URL.FullName()), "secret": platform.Bytes(wrapped), "version": platform.Int(1),
	}
	if r.ProviderID != "" {
		hook["bound"] = platform.Text(r.ProviderID)
	}
	return hook, nil
}

// propose adds what the head of the default branch holds. That it cannot be
// scanned is no reason to refuse the repository.
func (s *Service) propose(ctx context.Context, org platform.Org, out *Connected, remote *git.Remote) {
	r := out.Repository
	head := remote.Head(git.Ref(git.Heads + r.DefaultBranch))
	if head == "" {
		out.Notice = "The repository has no branch yet; it is scanned at its first push."
		return
	}
	result, err := s.scanCommit(ctx, org, r, remote, head)
	if err != nil {
		out.Notice = fmt.Sprintf("It was not scanned: %v", err)
		return
	}
	out.Commit, out.Scan = string(head), &result
}

// Confirm has pushes run the pipelines of a repository from now on, or not any more.
func (s *Service) Confirm(ctx context.Context, org platform.Org, idOrName string, run bool) (Repository, error) {
	r, err := s.Get(ctx, org, idOrName)
	if err != nil {
		return r, err
	}
	r, err = s.update(ctx, org, r.ID, "confirmed", func(r *Repository, set platform.Item) bool {
		set["run_pipelines"] = platform.Bool(run)
		changed := r.RunPipelines != run
		r.RunPipelines = run
		return changed
	})
	return r, errors.Join(err, s.lookSoon(ctx, org, r.ID)) // its schedules begin, or end
}

// Disconnect forgets a repository: its hook, its name and itself. Its runs stay.
func (s *Service) Disconnect(ctx context.Context, org platform.Org, idOrName string) error {
	r, err := s.Get(ctx, org, idOrName)
	if err != nil {
		return err
	}
	if err := s.home.Table.Transact(
		ctx, "",
		platform.Delete{Key: hookRow(r.ID)},
		platform.Delete{Key: nameRow(org, r.Name)},
		platform.Delete{Key: repositoryRow(org, r.ID)},
	); err != nil {
		return err
	}
	return errors.Join(
		s.putSchedules(ctx, org, r.ID, nil),
		s.putListeners(ctx, org, r, nil),
		s.forget(ctx, org, r.ID),
	)
}

// forget deletes the rows of the refs. Cut off, it leaves rows that nobody reads:
// an id is never used again.
func (s *Service) forget(ctx context.Context, org platform.Org, id string) error {
	p := rows(org, id)
	for cursor := ""; ; {
		page, err := s.home.Table.Query(ctx, platform.Query{Partition: p, Prefix: p.Rows("ref"), Cursor: cursor})
		if err != nil {
			return err
		}
		for _, row := range page.Rows {
			if _, err := s.home.Table.Write(platform.Relaxed(ctx), platform.Delete{Key: row.Key}); err != nil {
				return err
			}
		}
		if cursor = page.Cursor; cursor == "" {
			return nil
		}
	}
}

// RotateSecret makes a new secret for a webhook, or takes one that the provider
// made. The old one holds for another day, except beside a signing token.
func (s *Service) RotateSecret(ctx context.Context, org platform.Org, idOrName, secret string) (Webhook, error) {
	r, err := s.Get(ctx, org, idOrName)
	if err != nil {
		return Webhook{}, err
	}
	if r.Provider == Plain {
		return Webhook{}, problem.New(problem.Conflict, "%s is a plain git repository: it has no webhook, and is looked at every %s.", r.Name, s.options.LookPlain)
	}
	if secret == "" {
		secret = newSecret()
	} else if len(secret) < 16 || len(secret) > maxSecret {
		return Webhook{}, problem.New(problem.Invalid, "A webhook's secret has 16 to %d characters.", maxSecret).InField("webhook_secret")
	}
	fresh, err := s.newHook(ctx, org, r, secret)
	if err != nil {
		return Webhook{}, err
	}
	for {
		old, err := s.home.Table.Get(ctx, hookRow(r.ID))
		if err != nil {
			return Webhook{}, err
		}
		_, err = s.home.Table.Write(ctx, platform.Update{
			Key: hookRow(r.ID),
			Set: platform.Item{
				"secret": fresh["secret"], "previous": old["secret"],
				"previous_until": platform.Stamp(s.home.Clock.Now().Add(rotation)), "version": platform.Int(old.Int("version") + 1),
			},
			If: platform.Equal{Attribute: "version", Value: old["version"]},
		})
		if !errors.Is(err, platform.ErrConditionFailed) {
			return *webhookOf(r, secret), errors.Join(err, s.hookSoon(ctx, org, r.ID))
		}
	}
}
