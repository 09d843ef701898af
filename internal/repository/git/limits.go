package git

import (
	"time"

	"github.com/buildit-dev/buildit/internal/problem"
)

// Limits hold a repository to what a fetch and a bundle may cost.
type Limits struct {
	Refs      int           // refs of a remote that are listed
	RefBytes  int64         // of the list of refs as it travels
	PackBytes int64         // of a pack as it travels
	Objects   int           // of a pack
	FileBytes int64         // of one object, expanded
	TreeBytes int64         // of all objects of a pack, expanded; and of a bundle
	Files     int           // of a commit
	PathBytes int           // of a path in a commit
	PathDepth int           // folders above a file
	Time      time.Duration // of one fetch
}

// DefaultLimits suit a monorepo and keep a hostile one under half a gigabyte of memory.
var DefaultLimits = Limits{
	Refs:      100_000,
	RefBytes:  32 << 20,
	PackBytes: 1 << 30,
	Objects:   1_000_000,
	FileBytes: 100 << 20,
	TreeBytes: 4 << 30,
	Files:     200_000,
	PathBytes: 1024,
	PathDepth: 64,
	Time:      5 * time.Minute,
}

func tooLarge(format string, args ...any) error {
	return problem.New(problem.TooLarge, format, args...)
}

func hostile(format string, args ...any) error {
	return problem.New(problem.Invalid, format, args...)
}
