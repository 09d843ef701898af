// Package server assembles everything of BuildIt behind one handler, for the home
// of one machine: the API, its streams, and the work that goes on without a call.
package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/access/openapi"
	"github.com/buildit-dev/buildit/internal/environment"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/presign"
	"github.com/buildit-dev/buildit/internal/repository"
	"github.com/buildit-dev/buildit/internal/secret"
)

// Options are what the home does not know.
type Options struct {
	Version string
	Data    string       // the data folder, for the owner's token
	TempDir string       // for what is fetched from remotes; the system's if empty
	Origins []string     // of our own pages, where a proxy changes the host
	Blobs   http.Handler // serves the URLs that the home's blobs sign
	Log     *slog.Logger
	// AllowUntrusted lets strangers' commits run in a class that does not isolate them.
	AllowUntrusted bool
	// Quota is that of organizations that have set none.
	Quota pipeline.Quota
	// Local lets repositories be connected by file URLs and by addresses of this
	// machine: for the owner of a home that only this machine reaches.
	Local bool
}

// Server is the platform, ready to answer and to work.
type Server struct {
	Handler http.Handler
	API     *access.Mux // its routes are the authorization matrix
	// Functions are what the state machines call, by name; the home gets them
	// before it runs.
	Functions map[string]platform.Function
	// TaskEnded is told the job of a task whose supervisor died without a word.
	TaskEnded func(ctx context.Context, job string) error

	work []func(context.Context) error
}

// New makes the server of a home. An error is a mistake of ours in a route, or a
// token file that must not be trusted.
func New(ctx context.Context, home platform.Home, o Options) (*Server, error) {
	credentials := access.NewCredentials(home.Table, home.Keys, home.Clock, home.IDs)
	if err := access.Bootstrap(ctx, credentials, o.Data); err != nil {
		return nil, err
	}
	mux, err := access.New(access.Options{
		Table: home.Table, Clock: home.Clock, IDs: home.IDs, Log: o.Log, Credentials: credentials,
		Origins: o.Origins, Describe: openapi.New(o.Version),
	})
	if err != nil {
		return nil, err
	}
	s := &Server{API: mux, Functions: map[string]platform.Function{}}
	runs, err := s.addPipeline(home, credentials, o)
	if err != nil {
		return nil, err
	}
	if err := s.addRepositories(home, runs, o); err != nil {
		return nil, err
	}
	top := http.NewServeMux()
	top.Handle("/", mux)
	top.Handle(presign.Path, o.Blobs)
	s.Handler = top
	return s, nil
}

// liveEvery is how long output waits for more of it. On one machine a part of a log is
// a file that is not synced, about 0.1 ms, so that ten a second are no load, and a
// line is on a screen well within the 300 ms that are promised.
const liveEvery = 100 * time.Millisecond

// addPipeline adds runs: their routes, their state machines' function, the protocol
// of their supervisors, and the streams that follow them.
func (s *Server) addPipeline(home platform.Home, credentials *access.Credentials, o Options) (*pipeline.Service, error) {
	logs := pipeline.NewLogStore(home.Blobs)
	follower, environments := pipeline.NewFollower(logs), environment.New(home.Table, home.Clock)
	secrets := &secret.Service{Table: home.Table, Keys: home.Keys, Clock: home.Clock}
	runs := pipeline.New(home, pipeline.Parts{
		Log: o.Log, Logs: logs, Observe: follower, Ticket: pipeline.Ticket(credentials), Secrets: secrets.Value,
		Since: home.Clock.Now(), Live: liveEvery,
		AllowUntrusted: o.AllowUntrusted, Rights: credentials.Again, Environments: environments, Quota: o.Quota,
	})
	follower.Bind(runs)
	s.Functions["pipeline"], s.TaskEnded = runs.Function, runs.TaskEnded
	s.work = append(
		s.work,
		func(ctx context.Context) error { return home.Feed.Consume(ctx, "pipeline-outbox", runs.Outbox) },
		every(home.Clock, o.Log, "sweep", runs.Sweep),
		every(home.Clock, o.Log, "logs", runs.KeepLogs),
		every(home.Clock, o.Log, "tests", runs.KeepCases),
		every(home.Clock, o.Log, "caches", runs.KeepCaches),
		every(home.Clock, o.Log, "artifacts", runs.KeepArtifacts),
	)
	runner := &pipeline.Runner{Service: runs, Credentials: credentials}
	streams := &access.Streams{
		Credentials: credentials, Clock: home.Clock, Log: o.Log, Origins: hosts(o.Origins), Logs: follower, Runs: follower,
	}
	return runs, errors.Join(
		s.API.Register(runs.Routes()...),
		s.API.Register(runs.GateRoutes()...),
		s.API.Register(environments.Routes()...),
		s.API.Register(secrets.Routes()...),
		s.API.Register(runner.Routes()...),
		s.API.Register(streams.Routes()...),
	)
}

// deliveriesAtOnce is how many deliveries are worked on at the same time.
const deliveriesAtOnce = 4

// addRepositories adds repositories: their routes, the consumers of deliveries and
// the reconciler.
func (s *Server) addRepositories(home platform.Home, runs *pipeline.Service, o Options) error {
	repositories := repository.New(home, starter{runs}, repository.Options{
		LocalPaths: o.Local, Loopback: o.Local, TempDir: o.TempDir, Log: o.Log, PublicURL: cmp.Or(append(o.Origins, "")...),
	})
	deliveries := platform.Consumer{
		Queues: home.Queues, Clock: home.Clock, Log: o.Log, Queue: repository.Queue, Limit: deliveriesAtOnce,
		Handle: func(ctx context.Context, m platform.Message) error { return repositories.HandleMessage(ctx, m.Body) },
	}
	consumer := func(queue string, handle func(context.Context, []byte) error) func(context.Context) error {
		c := deliveries
		c.Queue, c.Handle = queue, func(ctx context.Context, m platform.Message) error { return handle(ctx, m.Body) }
		return func(ctx context.Context) error { c.Run(ctx); return nil }
	}
	s.work = append(
		s.work,
		func(ctx context.Context) error {
			return home.Feed.Consume(ctx, "deliveries", repositories.HandleChanges)
		},
		func(ctx context.Context) error { deliveries.Run(ctx); return nil },
		consumer(repository.Ticks, repositories.HandleTick),
		consumer(repository.Upstreams, repositories.HandleEnd),
		every(home.Clock, o.Log, "reconcile", repositories.ReconcileDue),
	)
	s.addChecks(home, runs, repositories, o)
	return s.API.Register(repositories.Routes()...)
}

// starter is package pipeline as repository sees it.
type starter struct{ *pipeline.Service }

func (s starter) Start(ctx context.Context, org platform.Org, t pipeline.Trigger) (string, error) {
	run, err := s.Service.Start(ctx, org, t)
	return string(run.ID), err
}

// hosts are the hosts of origins, as a WebSocket's Origin is compared.
func hosts(origins []string) []string {
	var names []string
	for _, origin := range origins {
		if at, err := url.Parse(origin); err == nil {
			names = append(names, at.Host)
		}
	}
	return names
}

// Run works until ctx ends, and returns nil then. If a part fails, all end.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	errs := make([]error, len(s.work))
	for i, part := range s.work {
		running.Go(func() {
			if errs[i] = part(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	<-ctx.Done()
	running.Wait()
	return errors.Join(errs...)
}
