package pipeline

import (
	"fmt"
	"strings"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
)

// secretUser is who a secret of a cell is looked up for. A pull request gets nothing
// of an environment: whoever can open one would have its secrets before a review.
func (g *Graph) secretUser(node int, above upstream) (SecretUser, error) {
	user := SecretUser{Trigger: g.Trigger, Run: g.Run, Pipeline: g.Name, Stage: g.Nodes[node].Name}
	spec := g.spec(node)
	if spec.Environment == nil || g.Trigger.Event == "pull-request" {
		return user, nil
	}
	name, err := language.Expand(spec.Environment.NameT, g.finalFacts(node, above))
	user.Environment = name
	return user, err
}

// scopes are where its secrets are looked up, as people say it.
func (u SecretUser) scopes() string {
	looked := []string{fmt.Sprintf("pipeline %s of %s", u.Pipeline, u.Trigger.RepoName)}
	if u.Environment != "" {
		looked = append(looked, "environment "+u.Environment)
	}
	return strings.Join(append(looked, "repository "+u.Trigger.RepoName, "organization"), ", ")
}
