package platformtest

import "github.com/buildit-dev/buildit/internal/platform"

// acme is the tenant of most cases, globex the other one.
var (
	acme   = platform.System("acme", "conformance")
	globex = platform.System("globex", "conformance")
)

var stages = acme.Partition("run").Rows("stage")

func text(s string) platform.Text { return platform.Text(s) }

func number(n int) platform.Number { return platform.Int(n) }
