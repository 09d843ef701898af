package language

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// spent is how much of a processor this thread has used.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestHostileFilesAreCheap: no file of the allowed size is much work, whatever it
// repeats. The limit is loose, for slow machines: what is quadratic takes minutes. It
// is one of processor time, which others on the machine do not change.
func TestHostileFilesAreCheap(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, piece := range []string{
		"a\n", "a;", "{", "}", `"`, `r#"`, `"" `, "a=1 ", "a {\n", "stage \"a\" {\n", "/*", "(", "#", "'", "\\\n", "a {b;};", "\x01", "\u202e", "run |\n", "a:\n", "\"\"\"", "a,", "a=",
		"stage \"a\" { run \"true\"; }\n", "needs \"a\"\n", "on \"push\"\n", "x \"\n\"y\n", "include \"p.kdl\"\n", "#\"", "${a.b}", "<<E\n",
	} {
		for _, head := range []string{"pipeline \"p\"\n", "pipeline \"p\"\nstage \"a\" {\n", "pipeline \"p\"\nstage \"a\" { run \""} {
			text := head + strings.Repeat(piece, (40<<10-len(head))/len(piece))
			start := spent(t)
			load(t, text)
			if took := spent(t) - start; took > 2*time.Second {
				t.Errorf("%q after %q takes %s", piece, head, took)
			}
		}
	}
}
