package language

import (
	"strings"
	"testing"
	"time"
)

// TestHostileFilesAreCheap: no file of the allowed size takes long, whatever it
// repeats. The limit is loose, for slow machines: what is quadratic takes minutes.
func TestHostileFilesAreCheap(t *testing.T) {
	t.Parallel()
	for _, piece := range []string{
		"a\n", "a;", "{", "}", `"`, `r#"`, `"" `, "a=1 ", "a {\n", "stage \"a\" {\n", "/*", "(", "#", "'", "\\\n", "a {b;};", "\x01", "\u202e", "run |\n", "a:\n", "\"\"\"", "a,", "a=",
		"stage \"a\" { run \"true\"; }\n", "needs \"a\"\n", "on \"push\"\n", "x \"\n\"y\n", "include \"p.kdl\"\n", "#\"", "${a.b}", "<<E\n",
	} {
		for _, head := range []string{"pipeline \"p\"\n", "pipeline \"p\"\nstage \"a\" {\n", "pipeline \"p\"\nstage \"a\" { run \""} {
			text := head + strings.Repeat(piece, (40<<10-len(head))/len(piece))
			start := time.Now()
			load(t, text)
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%q after %q takes %s", piece, head, took)
			}
		}
	}
}
