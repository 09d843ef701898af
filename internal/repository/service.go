package repository

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/outbound"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// Runs is what a trigger moves: package pipeline.
type Runs interface {
	// Start makes the run of a trigger, once however often it is called, and
	// answers its id.
	Start(ctx context.Context, org platform.Org, t pipeline.Trigger) (run string, err error)
	// Check answers why the run of a trigger would be refused, nil if it would not;
	// it makes none.
	Check(ctx context.Context, org platform.Org, t pipeline.Trigger) error
	// CancelQueued ends the runs of a ref that have not started, because the ref
	// was deleted. None is no error.
	CancelQueued(ctx context.Context, org platform.Org, repository, ref, why string) error
}

// Options are what a home's owner decides.
type Options struct {
	// LocalPaths lets repositories be connected by file URLs, and Loopback by URLs
	// of this machine: for the owner of a one-machine home.
	LocalPaths bool
	Loopback   bool
	Private    []netip.Prefix // ranges that the operator has opened
	Ports      []int          // of git servers, besides 443 and 80; any with Loopback
	// LookEvery is how often a provider's repository is looked at without a
	// delivery, LookPlain how often any other is.
	LookEvery, LookPlain time.Duration
	// PublicURL is the address of this platform that providers call. Without it no
	// webhook is made or repaired.
	PublicURL string
	Depth     int // of a bundle's history; 1 if 0
	TempDir   string
	Log       *slog.Logger
}

// The intervals of the reconciler, where Options do not say otherwise.
const (
	lookEvery = 2 * time.Minute
	lookPlain = 30 * time.Second
)

// Service is the verbs of this package.
type Service struct {
	home    platform.Home
	git     *git.Client
	calls   *http.Client // of the providers' APIs
	runs    Runs
	options Options
	log     *slog.Logger
}

// New makes a Service on a home.
func New(home platform.Home, runs Runs, o Options) *Service {
	if o.LookEvery == 0 {
		o.LookEvery = lookEvery
	}
	if o.LookPlain == 0 {
		o.LookPlain = lookPlain
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Depth = max(1, o.Depth)
	policy := outbound.Policy{
		Schemes: []string{"https", "http"}, Ports: append([]int{443, 80}, o.Ports...), AnyPort: o.Loopback,
		Private: o.Private, Loopback: o.Loopback,
		Headers: time.Minute, // a server counts objects before it answers
	}
	client := git.NewClient(git.Options{HTTP: outbound.New(policy, nil).HTTP(), LocalPaths: o.LocalPaths, TempDir: o.TempDir})
	policy.Headers = 0 // an API answers at once
	return &Service{home: home, git: client, calls: outbound.New(policy, nil).HTTP(), runs: runs, options: o, log: o.Log}
}

// credential opens the token of a repository.
func (s *Service) credential(ctx context.Context, org platform.Org, r Repository) (git.Credential, error) {
	if len(r.credential) == 0 {
		return git.Credential{}, nil
	}
	token, err := s.home.Keys.Unwrap(ctx, r.credential, keyContext(org, r.ID, "token"))
	if user, password, is := strings.Cut(string(token), ":"); is && r.Provider == Bitbucket { // an app password has a user
		return git.Credential{User: user, Token: password}, err
	}
	return git.Credential{User: tokenUser(r.Provider), Token: string(token)}, err
}

// keyContext binds a wrapped secret to its place: it opens nowhere else.
func keyContext(org platform.Org, id, purpose string) map[string]string {
	return map[string]string{"org": org.ID(), "repository": id, "purpose": purpose}
}

// ask lists the heads of a repository's remote.
func (s *Service) ask(ctx context.Context, org platform.Org, r Repository) (*git.Remote, error) {
	credential, err := s.credential(ctx, org, r)
	if err != nil {
		return nil, err
	}
	return s.git.Ask(ctx, r.URL, credential)
}
