package convert

import (
	"fmt"
	"strings"
)

// File converts a file by what it is: a workflow has runs-on or uses in its jobs and
// an `on`, a configuration of CircleCI has a version.
func File(name string, source []byte) (Result, error) {
	root, err := parseYAML(source)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", name, err)
	}
	on := root.get("on") != nil || root.get("true") != nil
	switch {
	case on || strings.Contains(name, ".github/"):
		return GitHub(name, source)
	case root.get("version") != nil || root.get("workflows") != nil || strings.Contains(name, ".circleci/"):
		return CircleCI(name, source)
	}
	return Result{}, fmt.Errorf("%s: this is neither a workflow of GitHub Actions (it has no `on`) nor a configuration of CircleCI (it has no `version`)", name)
}
