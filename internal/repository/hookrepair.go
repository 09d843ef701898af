package repository

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/platform"
)

// HookReason is why a webhook may not work; "" if nothing speaks against it.
type HookReason string

// The reasons.
const (
	NoPublicURL      HookReason = "no-public-url"        // providers cannot be told where we are
	NoAPI            HookReason = "no-api-token"         // the provider cannot be asked
	TokenRefused     HookReason = "token-refused"        // by the provider, for webhooks
	HookRejected     HookReason = "hook-rejected"        // the provider does not take the webhook as we want it
	ProviderLimit    HookReason = "provider-limit"       // too many calls; it is asked again
	ProviderNoAnswer HookReason = "provider-unreachable" // it is asked again
)

const (
	hookEvery        = 10 * time.Minute
	hooksRound       = time.Minute // for the webhooks of one round of the reconciler
	redeliverable    = 72 * time.Hour
	maxRedeliveries  = 10  // of one look
	maxHookBanner    = 700 // bytes
	webhookPathStart = "/webhooks/"
)

// hookState is what the row of a repository keeps of its webhook at the provider.
type hookState struct {
	next     time.Time // it is not looked at before
	looked   time.Time
	told     int64 // the version of the secret that the provider was given
	reason   HookReason
	banner   string
	repaired time.Time
	repair   string
}

func hookStateOf(i platform.Item) hookState {
	return hookState{
		next: i.Time("hook_next"), looked: i.Time("hook_looked"), told: i.Int("hook_told"),
		reason: HookReason(i.Text("hook_reason")), banner: i.Text("hook_banner"),
		repaired: i.Time("hook_repaired"), repair: i.Text("hook_repair"),
	}
}

func webhookPath(r Repository) string { return webhookPathStart + r.Provider + "/" + r.ID }

// hookOf is a repository whose webhook may be looked at.
type hookOf struct {
	org        platform.Org
	repository Repository
}

// lookAtHooks looks at the webhooks whose time has come. What goes wrong is for the
// log and the repository's page; those that the round has no time for have the next.
func (s *Service) lookAtHooks(ctx context.Context, all []hookOf) {
	ctx, cancel := context.WithTimeout(ctx, hooksRound)
	defer cancel()
	for _, h := range all {
		if ctx.Err() != nil {
			return
		}
		s.lookAtHook(ctx, h.org, h.repository)
	}
}

// Sync looks at the remote and at the webhook now, for who does not want to wait.
func (s *Service) Sync(ctx context.Context, org platform.Org, idOrName string) (Looked, error) {
	looked, err := s.Reconcile(ctx, org, idOrName, "")
	if err != nil || looked.Status != Active {
		return looked, err
	}
	r, err := s.Get(ctx, org, idOrName)
	if err != nil {
		return looked, err
	}
	if r.hook.reason != ProviderLimit {
		err = s.hookSoon(ctx, org, r.ID)
		r.hook.next = time.Time{}
	}
	s.lookAtHook(ctx, org, r)
	return looked, err
}

// hookSoon has the reconciler look at the remote and its webhook at its next round.
func (s *Service) hookSoon(ctx context.Context, org platform.Org, id string) error {
	_, err := s.home.Table.Write(ctx, platform.Update{
		Key: repositoryRow(org, id), Set: platform.Item{}.DueAt(dueAt(s.home.Clock.Now())), Remove: []string{"hook_next"}, If: platform.RowIs,
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return nil // disconnected
	}
	return err
}

// lookAtHook looks at a webhook if its time has come, and keeps what it found.
func (s *Service) lookAtHook(ctx context.Context, org platform.Org, r Repository) {
	mine, err := s.takeHook(ctx, org, r)
	if err != nil || !mine {
		s.logHook(ctx, org, r, err)
		return
	}
	found, err := s.askForHook(ctx, org, r)
	if err == nil {
		err = s.noteHook(ctx, org, r, found)
	}
	s.logHook(ctx, org, r, err)
}

func (s *Service) logHook(ctx context.Context, org platform.Org, r Repository, err error) {
	if err != nil {
		s.log.ErrorContext(ctx, "webhook not looked at", "org", org.ID(), "repository", r.ID, "error", err)
	}
}

// takeHook sets the next look before this one, so that of several reconcilers one
// looks, and a look that is cut off is not repeated in a loop.
func (s *Service) takeHook(ctx context.Context, org platform.Org, r Repository) (mine bool, err error) {
	now := s.home.Clock.Now()
	if r.Provider == Plain || r.hook.next.After(now) {
		return false, nil
	}
	unmoved := platform.Condition(platform.Absent{Attribute: "hook_next"})
	if !r.hook.next.IsZero() {
		unmoved = platform.Equal{Attribute: "hook_next", Value: platform.Stamp(r.hook.next)}
	}
	_, err = s.home.Table.Write(ctx, platform.Update{
		Key: repositoryRow(org, r.ID), If: platform.All{platform.RowIs, unmoved},
		Set: platform.Item{"hook_looked": platform.Stamp(now), "hook_next": platform.Stamp(now.Add(hookEvery + s.spread(hookEvery)))},
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return false, nil
	}
	return err == nil, err
}

// hookFound is what a look at a webhook found and did.
type hookFound struct {
	told   int64  // the version of the secret that the provider has; 0 if that is not known
	did    string // at the provider
	reason HookReason
	banner string
	after  time.Duration // the provider wants to be left alone
}

// askForHook holds the provider to the webhook that the repository should have, and
// asks for what did not arrive. What the provider says against it is found, no error.
func (s *Service) askForHook(ctx context.Context, org platform.Org, r Repository) (found hookFound, err error) {
	if s.options.PublicURL == "" {
		return hookFound{reason: NoPublicURL, banner: "The webhook is neither checked nor made: this server does not know its own address. " +
			"Start it with --public-url URL; until then the webhook is set up by hand, and the repository is looked at every " + s.options.LookEvery.String() + "."}, nil
	}
	api, _, ok, err := s.API(ctx, org, r.ID)
	if err != nil {
		return found, err
	}
	if !ok {
		return hookFound{reason: NoAPI, banner: fmt.Sprintf("Nobody watches that the webhook stays as it should be: there is no token for the API of %s, or its address is not known. "+
			"`buildit repo token %s` takes a token that may administer webhooks, and --api the address.", r.Provider, r.Name)}, nil
	}
	row, err := s.home.Table.Get(ctx, hookRow(r.ID))
	if errors.Is(err, platform.ErrNotFound) {
		return found, nil // disconnected
	}
	if err != nil {
		return found, err
	}
	secret, err := s.home.Keys.Unwrap(ctx, row.Bytes("secret"), keyContext(org, r.ID, "webhook"))
	if err != nil {
		return found, err
	}
	version := row.Int("version")
	hook, did, err := api.EnsureHook(ctx, forge.WantedHook{
		URL: strings.TrimRight(s.options.PublicURL, "/") + webhookPath(r), Secret: string(secret), Told: r.hook.told == version,
	})
	if err == nil {
		found.told, found.did = version, did
		err = s.redeliver(ctx, org, r, api, hook.ID)
	}
	if ctx.Err() != nil {
		return found, ctx.Err()
	}
	found.reason, found.banner, found.after = hookTrouble(r, err)
	return found, nil
}

// redeliver asks for the deliveries that failed and have not come another way.
func (s *Service) redeliver(ctx context.Context, org platform.Org, r Repository, api forge.API, hook string) error {
	since := s.home.Clock.Now().Add(-redeliverable)
	failed, err := api.FailedDeliveries(ctx, hook, since)
	if err != nil {
		return err
	}
	asked := 0
	for _, d := range failed {
		if asked == maxRedeliveries {
			break
		}
		_, err := s.home.Table.Get(ctx, deliveryRow(org, r.ID, deliveryID(d.GUID, nil)))
		if err == nil {
			continue // it came, and our answer did not
		}
		if !errors.Is(err, platform.ErrNotFound) {
			return err
		}
		if err := api.Redeliver(ctx, hook, d); err != nil {
			return err
		}
		asked++
	}
	if asked > 0 {
		s.log.InfoContext(ctx, "failed deliveries asked for again", "org", org.ID(), "repository", r.ID, "deliveries", asked)
	}
	return nil
}

// hookTrouble says why a provider did not do what was asked, and what helps.
func hookTrouble(r Repository, err error) (reason HookReason, banner string, after time.Duration) {
	if err == nil {
		return "", "", 0
	}
	var refused *forge.Refusal
	if !errors.As(err, &refused) {
		return ProviderNoAnswer, fmt.Sprintf("The API of %s did not answer, so the webhook could not be checked: %v. It is asked again.", r.Provider, err), 0
	}
	says := fmt.Sprintf("%s says %v.", r.Provider, refused)
	switch {
	case refused.Limited:
		return ProviderLimit, "The webhook could not be checked, there were too many calls: " + says + " It is asked again later.", refused.After
	case refused.Status == http.StatusUnauthorized, refused.Status == http.StatusForbidden, refused.Status == http.StatusNotFound:
		return TokenRefused, fmt.Sprintf("The token of this repository may not see or change its webhooks: %s Give one that may administer them with `buildit repo token %s`, or set the webhook up by hand.", says, r.Name), 0
	case forge.ForGood(err):
		return HookRejected, fmt.Sprintf("The webhook is not as it should be, and could not be repaired: %s Look at the webhook at the provider; it needs the events %s.",
			says, strings.Join(webhookOf(r, "").Events, ", ")), 0
	}
	return ProviderNoAnswer, "The webhook could not be checked: " + says + " It is asked again.", 0
}

// noteHook keeps what a look found, with an event if that is news.
func (s *Service) noteHook(ctx context.Context, org platform.Org, r Repository, found hookFound) error {
	found.banner = strings.ToValidUTF8(found.banner[:min(len(found.banner), maxHookBanner)], "")
	event := "hook-fine"
	switch {
	case found.did != "":
		event, _, _ = strings.Cut("hook-"+found.did, ":")
	case found.reason != "":
		event = "hook-" + string(found.reason)
	}
	now := s.home.Clock.Now()
	_, err := s.update(ctx, org, r.ID, event, func(r *Repository, set platform.Item) bool {
		was := r.hook
		set["hook_reason"], set["hook_banner"] = platform.Text(found.reason), platform.Text(found.banner)
		if found.told != 0 {
			set["hook_told"] = platform.Int(found.told)
		}
		if found.did != "" {
			set["hook_repair"], set["hook_repaired"] = platform.Text(found.did), platform.Stamp(now)
		}
		if found.after > 0 {
			set["hook_next"] = platform.Stamp(now.Add(found.after + s.spread(hookEvery)))
		}
		reworded := was.banner != found.banner && found.reason != ProviderNoAnswer // which names another port each time
		return found.did != "" || found.after > 0 || was.reason != found.reason || reworded || found.told != 0 && was.told != found.told
	})
	if errors.Is(err, platform.ErrNotFound) {
		return nil // disconnected
	}
	if found.did != "" {
		s.log.InfoContext(ctx, "webhook "+found.did, "org", org.ID(), "repository", r.ID)
	}
	return err
}
