// The first process of every task: a static binary around internal/supervisor,
// which has all its duties. Its one argument is "supervise"; what to do comes
// through descriptor 3, and that it is done leaves through descriptor 4.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/buildit-dev/buildit/internal/supervisor"
)

// version and commit are set by the linker.
var version, commit = "dev", ""

// A task driver puts starts into one descriptor, and reads from the other when one
// is done.
const (
	startDescriptor = 3
	endedDescriptor = 4
)

func main() {
	if len(os.Args) != 2 || os.Args[1] != "supervise" {
		fmt.Printf("buildit-runner %s %s\nusage: buildit-runner supervise   (started by the platform, which writes to descriptor 3)\n", version, commit)
		os.Exit(2)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := syscall.SetNonblock(startDescriptor, true); err != nil { // so that SIGTERM can end the wait
		log.Error("nothing is open at descriptor 3: the platform starts this program", "err", err)
		os.Exit(supervisor.ExitUnreported)
	}
	for _, descriptor := range []int{startDescriptor, endedDescriptor} {
		syscall.CloseOnExec(descriptor) // they are none of the commands' business
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	start, ended := os.NewFile(startDescriptor, "start"), os.NewFile(endedDescriptor, "ended")
	os.Exit(supervisor.Supervise(ctx, start, ended, version, os.Environ(), log))
}
