package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

const wobbly = `pipeline "shop"
stage "test" {
    retry 1 on="exit" backoff="1s"
    run r#"[ $BUILDIT_STAGE_ATTEMPT = 2 ] || bad="<failure message='got 3'/>"; echo "<testsuite><testcase name='adds' file='t/a.py' line='3'>$bad</testcase><testcase name='slow' file='t/slow.py' time='60'/></testsuite>" >r.xml; echo '# <b>' >$BUILDIT_SUMMARY; [ -z "$bad" ]"#
    report "junit" path="r.xml" required=true
}
stage "shares" needs="test" {
    parallel 2 files="t/*.py"
    run "echo \"share: $(paste -sd , $BUILDIT_SPLIT_FILES)\""
}
`

// A test that fails and passes on the retry is flaky, and stays known as that for later
// runs of the commit, whose parallel cells share the files out by what they took.
func TestFlakyTestsAndShares(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := server.New(t, "shop")
	tree.Commit("first", ".buildit.kdl", wobbly)
	for _, file := range []string{"t/a.py", "t/b.py", "t/c.py", "t/slow.py"} {
		tree.Commit("more", file, "x")
	}
	tree.Push()
	s.ok("repo", "connect", "file://"+tree.Bare)
	s.ok("start", "shop")
	first := s.ended("shop", 1)[0]
	if first.Status != "succeeded" {
		t.Fatal(first)
	}
	s.await("the history of the test", func() bool {
		return strings.Contains(s.ok("tests", "1", "--flaky"), "[flaky on 1 commit]")
	})
	if said := s.ok("tests", "1"); !strings.Contains(said, "flaky") || !strings.Contains(said, "t/a.py:3") || !strings.Contains(said, "slow") {
		t.Errorf("%s", said)
	}
	if said := s.ok("summary", "1"); !strings.Contains(said, "test  tests: 2") || !strings.Contains(said, "# <b>") {
		t.Errorf("%s", said)
	}
	s.ok("start", "shop")
	s.ended("shop", 2)
	got := ""
	for cell := 1; cell <= 2; cell++ {
		_, share, _ := strings.Cut(s.ok("logs", "2", fmt.Sprintf("shares (%d/2)", cell)), "share: ")
		got += strings.TrimSpace(share) + "; "
	}
	if got != "t/slow.py; t/a.py,t/b.py,t/c.py; " {
		t.Errorf("the cells share the files out as %s", got)
	}
}
