package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Side is the platform behind /runner/v1 for one attempt: who makes it has verified
// the caller's token and found the attempt by its claims.
type Side struct {
	Control
	// Grant answers requests for objects, one grant for each.
	Grant func(ctx context.Context, requests []GrantRequest) ([]Grant, error)
	// Renew makes a new token where the old one is past half of its life; for hello
	// it always makes one.
	Renew func(ctx context.Context, hello bool) (Renewal, error)
}

// Serve answers one call. The error is a problem that the caller writes as every
// other one.
func Serve(r *http.Request, side Side) (any, error) {
	if err := checkProtocol(r); err != nil {
		return nil, err
	}
	answer, err := serve(r, side)
	if errors.Is(err, ErrSettled) {
		return nil, &problem.Error{Kind: Settled, Detail: "The attempt is over; whatever it still does is not recorded.", Err: err}
	}
	return answer, asProblem(err)
}

// asProblem names the errors of a port that repeating the call would not change: a
// supervisor gives up on them, and repeats everything else.
func asProblem(err error) error {
	var known *problem.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	for _, row := range []struct {
		err  error
		kind problem.Kind
	}{
		{platform.ErrNotFound, problem.NotFound},
		{platform.ErrGone, problem.Expired},
		{platform.ErrDenied, problem.Forbidden},
		{platform.ErrInvalid, problem.Invalid},
		{platform.ErrTooLarge, problem.TooLarge},
	} {
		if errors.Is(err, row.err) {
			return &problem.Error{Kind: row.kind, Detail: err.Error(), Err: err}
		}
	}
	return err
}

func serve(r *http.Request, side Side) (any, error) {
	switch r.URL.Path {
	case PathHello:
		return answerTo(r, side.hello)
	case PathSecrets:
		return answerTo(r, side.secrets)
	case PathGrants:
		return answerTo(r, side.grants)
	case PathLog:
		return answerTo(r, side.log)
	case PathBeat:
		return answerTo(r, side.beat)
	case PathCacheFind:
		return answerTo(r, side.FindCache)
	case PathCacheSave:
		return answerTo(r, side.SaveCache)
	case PathCacheFault:
		return answerTo(r, side.cacheFault)
	case PathFinish:
		return answerTo(r, side.finish)
	}
	return nil, problem.New(problem.NotFound, "There is no call %s.", r.URL.Path)
}

// checkProtocol accepts the version before ours and the one after.
func checkProtocol(r *http.Request) error {
	text := r.Header.Get(ProtocolHeader)
	version, err := strconv.Atoi(text)
	if err != nil || version < Protocol-1 || version > Protocol+1 {
		return problem.New(problem.Invalid, "%s is %q; this server speaks %d.", ProtocolHeader, text, Protocol)
	}
	return nil
}

// answerTo decodes a call's body. Fields that we do not know are a newer
// supervisor's, and are passed over.
func answerTo[In, Out any](r *http.Request, call func(context.Context, In) (Out, error)) (any, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		return nil, problem.New(problem.Invalid, "The body did not arrive: %v.", err)
	}
	if len(body) > MaxBody {
		return nil, problem.New(problem.TooLarge, "The body has over %d bytes, the limit.", MaxBody)
	}
	var in In
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, problem.New(problem.Invalid, "The body is not what %s takes: %v.", r.URL.Path, err)
	}
	answer, err := call(r.Context(), in)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

func (s Side) hello(ctx context.Context, in Hello) (HelloAnswer, error) {
	job, err := s.Hello(ctx, in)
	if err != nil {
		return HelloAnswer{}, err
	}
	renewal, err := s.Renew(ctx, true)
	return HelloAnswer{Job: &job, Renewal: renewal}, err
}

func (s Side) secrets(ctx context.Context, _ SecretsRequest) (SecretsAnswer, error) {
	values, err := s.Secrets(ctx)
	return SecretsAnswer{values}, err
}

func (s Side) grants(ctx context.Context, in GrantsRequest) (GrantsAnswer, error) {
	if len(in.Objects) > MaxGrants {
		return GrantsAnswer{}, problem.New(problem.Invalid, "%d objects were asked for; %d are allowed in one call.", len(in.Objects), MaxGrants)
	}
	grants, err := s.Grant(ctx, in.Objects)
	return GrantsAnswer{grants}, err
}

func (s Side) log(ctx context.Context, in LogRequest) (LogAnswer, error) {
	next := 0
	for i := range in.Parts {
		part := in.Parts[i]
		if err := part.Check(); err != nil {
			return LogAnswer{}, &problem.Error{Kind: problem.Invalid, Detail: err.Error(), Err: err}
		}
		if err := s.Log(ctx, part); err != nil {
			return LogAnswer{}, err
		}
		next = part.Segment + 1
	}
	return LogAnswer{next}, nil
}

func (s Side) beat(ctx context.Context, in Beat) (BeatAnswer, error) {
	order, err := s.Beat(ctx, in)
	if err != nil {
		return BeatAnswer{}, err
	}
	renewal, err := s.Renew(ctx, false)
	return BeatAnswer{Order: order, Renewal: renewal}, err
}

func (s Side) finish(ctx context.Context, in Result) (FinishAnswer, error) {
	if err := s.Finish(ctx, in); err != nil {
		return FinishAnswer{}, err
	}
	return FinishAnswer{Accepted: true}, nil
}
