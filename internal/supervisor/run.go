package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/buildit-dev/buildit/internal/mask"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/system"
)

// Options are what a supervisor knows of the place that it runs in.
type Options struct {
	Hello Hello
	// Dir is a folder of the attempt's own, for HOME, temporary files, the spool
	// and (unless the job brings one) the workspace. It is made if it is absent,
	// and removed at the end. "" makes a temporary one.
	Dir string
	// Scratch lends the folder instead of Dir, where many attempts share a process.
	Scratch *Scratch
	// Env is the environment of the base image, as NAME=value.
	Env []string
	// Masked tells, after hello, what no log may show besides the secrets: tokens.
	Masked func() []string
	// Alone says that the process serves this attempt alone. It then adopts what
	// the commands leave behind, also what has left their process groups, and ends
	// all of it.
	Alone bool
	// SpoolBytes limits the log that waits on disk for a platform that is out of
	// reach; 0 is 256 MiB.
	SpoolBytes int64
	Log        *slog.Logger   // nil discards
	Clock      platform.Clock // nil is the machine's
}

// Reasons for the end of an attempt (pipelines.md 5.4).
const (
	ReasonOK              = "ok"
	ReasonExit            = "exit"
	ReasonSignal          = "signal"
	ReasonOOM             = "oom"
	ReasonTimeout         = "timeout"
	ReasonIdleTimeout     = "idle-timeout"
	ReasonCanceled        = "canceled"
	ReasonDiskFull        = "disk-full"
	ReasonCheckoutFailed  = "checkout-failed"
	ReasonSourceGone      = "source-gone"
	ReasonClassUnfit      = "class-unfit"
	ReasonSecretMissing   = "secret-missing"
	ReasonSecretUntrusted = "secret-untrusted"
	ReasonArtifactMissing = "artifact-missing"
	ReasonArtifactEmpty   = "artifact-empty"
	ReasonArtifactInvalid = "artifact-invalid"
	ReasonOutputInvalid   = "output-invalid"
	ReasonReportMissing   = "report-missing"
	ReasonUploadFailed    = "upload-failed"
	ReasonInterrupted     = "spot-interrupted"
	ReasonCrash           = "supervisor-crash"
	ReasonGrantFailed     = "grant-failed"
	ReasonLogLimit        = "log-limit"
)

// Limits of what follows the commands, also when the attempt is being stopped.
const (
	defaultGrace = 20 * time.Second
	reportWithin = 100 * time.Second // Fargate kills 120 s after SIGTERM
	// reportPatience is how long a platform that is out of reach is waited for with
	// a result; it waits 10 minutes itself for a supervisor that is unreachable.
	reportPatience = 15 * time.Minute
)

// failure is an end that is not ReasonOK, on its way up.
type failure struct {
	reason string
	detail string // for people; masked before it leaves
	err    error  // the cause, if there is one
}

func (f *failure) Error() string { return f.reason + ": " + f.detail }
func (f *failure) Unwrap() error { return f.err }

func failed(reason, format string, args ...any) *failure {
	return &failure{reason: reason, detail: fmt.Sprintf(format, args...)}
}

// attempt is one job on its way through prepare, commands and finish.
type attempt struct {
	job     Job
	control Control
	opt     Options
	clock   platform.Clock
	log     *slog.Logger

	folders folders
	masks   *mask.Set
	secrets map[string]string
	out     *output
	ship    *shipper
	env     environment
	live    vitals // what beats tell
	noShare bool   // of the files of `parallel` none is this cell's
	caches  []*cacheWork

	result Result
}

// Run asks control for the job, does it, and reports the result, which it also
// returns. The end of ctx stops the commands as SIGTERM does a supervisor: they
// get their grace, logs are flushed, and the result is still reported, within 100
// seconds. The error tells what kept the result from being reported: ErrSettled,
// or that the platform stayed out of reach.
//
// Calling it again for the same attempt is harmless: the platform keeps one result.
func Run(ctx context.Context, control Control, opt Options) (Result, error) {
	a := &attempt{control: control, opt: opt, clock: opt.Clock, log: opt.Log}
	if a.clock == nil {
		a.clock = system.Clock{}
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	// Calls to the platform outlive ctx, so that an attempt which is stopped can tell
	// how it ended, also one that is stopped before it has said hello.
	calls, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	stopReporting := context.AfterFunc(ctx, func() {
		a.clock.AfterFunc(reportWithin, hangUp)
	})
	defer stopReporting()
	job, err := control.Hello(calls, opt.Hello)
	if err != nil {
		return Result{}, fmt.Errorf("no job: %w", err)
	}
	a.job = job
	a.result = Result{V: 1, Command: -1, Notices: append([]Notice(nil), job.Notices...)}
	return a.run(ctx, calls, hangUp)
}

// run does the job.
func (a *attempt) run(ctx, calls context.Context, hangUp func()) (Result, error) {
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	a.startLog(calls, stop)
	beats := a.startBeats(calls, stop)
	end := a.work(work, calls)
	a.conclude(ctx, beats, end)
	stopPatience := a.clock.AfterFunc(reportPatience, hangUp)
	defer stopPatience()
	err := a.report(calls, beats)
	return a.result, errors.Join(err, a.folders.remove())
}

// work goes through the phases. What it returns decides the result.
func (a *attempt) work(ctx, calls context.Context) error {
	if err := a.prepare(ctx, calls); err != nil {
		return orStopped(ctx, err)
	}
	a.live.phase.Store(phaseCommands)
	end := a.runCommands(ctx)
	a.live.phase.Store(phaseFinish)
	return a.finish(ctx, calls, end)
}

// prepare makes all ready for the first command.
func (a *attempt) prepare(ctx, calls context.Context) error {
	if err := a.fetchSecrets(calls); err != nil {
		return err
	}
	a.out.mask(a.masks)
	if err := a.folders.make(a.opt, a.job.Workspace); err != nil {
		return a.diskTrouble(err)
	}
	if err := a.prepareSource(ctx); err != nil {
		return err
	}
	a.restoreCaches(ctx)
	if err := a.fetchArtifacts(ctx); err != nil {
		return err
	}
	if err := a.splitFiles(ctx); err != nil {
		return err
	}
	return a.buildEnvironment()
}

// orStopped is why the work was stopped, if it was, else err.
func orStopped(ctx context.Context, err error) error {
	var f *failure
	if cause := context.Cause(ctx); errors.As(cause, &f) || errors.Is(cause, ErrSettled) {
		return cause
	}
	return err
}

// conclude turns the end of the work into the result.
func (a *attempt) conclude(ctx context.Context, beats *beats, end error) {
	var f *failure
	switch {
	case end == nil:
		a.result.Reason = ReasonOK
		return
	case errors.Is(end, ErrSettled):
		a.result.Reason, a.result.Detail = ReasonCanceled, "The attempt was settled elsewhere."
		return
	case ctx.Err() != nil && !errors.As(end, &f):
		f = beats.whyStopped()
	case !errors.As(end, &f):
		f = &failure{reason: ReasonCrash, detail: end.Error(), err: end}
	}
	a.result.Reason, a.result.Detail = f.reason, a.masks.Text(f.detail)
	if f.err != nil {
		a.log.Info("attempt failed", "reason", f.reason, "err", a.masks.Text(f.err.Error()))
	}
}

// report ships the rest of the log and then the result.
func (a *attempt) report(calls context.Context, beats *beats) error {
	if a.result.Reason != ReasonOK && a.result.Detail != "" {
		a.out.say("%s", a.result.Detail)
	}
	logErr := a.closeLog()
	beats.stop()
	if errors.Is(logErr, ErrSettled) {
		return ErrSettled
	}
	if err := a.control.Finish(calls, a.result); err != nil {
		return errors.Join(logErr, fmt.Errorf("the result could not be reported: %w", err))
	}
	return logErr
}

// notice tells people something of the stage, once with the result and once in
// the log.
func (a *attempt) notice(code, format string, args ...any) {
	text := a.masks.Text(fmt.Sprintf(format, args...))
	a.result.Notices = append(a.result.Notices, Notice{code, text})
	a.out.say("%s", text)
}

// diskTrouble is an error of the file system as a failure.
func (a *attempt) diskTrouble(err error) error {
	if isDiskFull(err) {
		return failed(ReasonDiskFull, "The disk of %s is full: %v. Free space, or choose a larger runner.", a.folders.dir, err)
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return &failure{reason: ReasonCrash, detail: fmt.Sprintf("The runner's folder cannot be used: %v.", err), err: err}
	}
	return err
}
