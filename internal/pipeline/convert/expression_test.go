package convert

import "testing"

// testJob knows the names that the tables below ask for.
func testJob() *job {
	w := &workflow{root: &item{}, params: map[string]string{"dry": "bool", "env": "string"}, tags: true}
	j := &job{w: w, id: "b", name: "b", item: &item{}, secrets: map[string]bool{}, env: map[string]string{}}
	w.jobs = []*job{{w: w, id: "a", name: "a", item: &item{}, outputs: map[string]string{"v": "v"}}, j}
	return j
}

func TestConditions(t *testing.T) {
	for _, tt := range []struct{ written, said string }{
		{"github.ref == 'refs/heads/main'", "branch == 'main'"},
		{"github.ref != 'refs/heads/main'", "branch != 'main'"},
		{"startsWith(github.ref, 'refs/tags/')", "tag != ''"},
		{"startsWith(github.ref, 'refs/tags/v')", "starts_with(tag, 'v')"},
		{"!startsWith(github.ref, 'refs/tags/')", "!(tag != '')"},
		{"github.event_name == 'push'", "event in ['push', 'tag']"},
		{"github.event_name != 'pull_request'", "event != 'pull-request'"},
		{"github.ref == format('refs/heads/{0}', github.event.repository.default_branch)", ""},
		{"github.event.pull_request.head.repo.full_name == github.repository", "!fork"},
		{"github.event.pull_request.head.repo.fork == false", "!fork"},
		{"inputs.dry", "param.dry"},
		{"inputs.dry != true && github.actor == 'bot'", "!param.dry && actor == 'bot'"},
		{"inputs.env == 'it''s'", "param.env == 'it''s'"},
		{"needs.a.outputs.v == 'x' || needs.a.result == 'failure'", "outputs.a.v == 'x' || status('a') in ['failed', 'errored', 'timed_out']"},
		{"(needs.a.outputs.v == 'x' || github.base_ref == 'y') && true", "outputs.a.v == 'x' || base == 'y'"},
		{"github.base_ref == 'y' && (needs.a.outputs.v == 'x' || github.head_ref == 'z')", "base == 'y' && (outputs.a.v == 'x' || head == 'z')"},
		{"(github.base_ref == 'y' && github.actor == 'b') || github.actor == 'c'", "base == 'y' && actor == 'b' || actor == 'c'"},
		{"runner.os == 'Linux' && github.actor == 'b'", "actor == 'b'"},
		{"contains(fromJSON('[\"a\", \"b\"]'), github.actor)", "actor in ['a', 'b']"},
		{"contains(github.event.head_commit.message, 'x')", ""},
		{"github.repository == 'acme/app'", "true"},
		{"vars.X == 'y'", ""},
		{"((((", ""},
		{"a ==", ""},
	} {
		e, err := parseExpr(tt.written)
		said := ""
		if err == nil {
			said, err = e.when(testJob())
		}
		if said != tt.said || (err == nil) != (tt.said != "") {
			t.Errorf("%s is %q %v, want %q", tt.written, said, err, tt.said)
		}
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct{ written, said string }{
		{`echo ${{ github.sha }}`, `echo $BUILDIT_SHA`},
		{`echo "${{ github.sha }}x"`, `echo "${BUILDIT_SHA}x"`},
		{`echo '${{ github.sha }}'`, `echo "$BUILDIT_SHA"`},
		{`echo 'a ${{ github.sha }} b'`, `echo 'a '"$BUILDIT_SHA"' b'`},
		{`echo "it's" '${{ runner.os }}'`, `echo "it's" 'Linux'`},
		{"# don't\necho '${{ matrix.a-b }}'", "# don't\necho \"$MATRIX_A_B\""},
		{`curl -H "Authorization: ${{ secrets.TOKEN }}"`, `curl -H "Authorization: $TOKEN"`},
		{`echo ${{ needs.a.outputs.v }}`, `echo $OUTPUT_A_V`},
		{`echo ${{ github.repository }}`, `echo $BUILDIT_REPO_OWNER/$BUILDIT_REPO_NAME`},
		{`echo "${{ '$(rm -rf /)' }}"`, `echo "\$(rm -rf /)"`},
		{"cat <<< x; echo '${{ github.sha }}'", `cat <<< x; echo "$BUILDIT_SHA"`},
		{"cat <<'E'\n${{ github.sha }}\nE", ""},
		{`echo ${{ github.event.issue.title }}`, ""},
	} {
		said, err := command(tt.written, testJob())
		if said != tt.said || (err == nil) != (tt.said != "") {
			t.Errorf("%s is %q %v, want %q", tt.written, said, err, tt.said)
		}
	}
}
