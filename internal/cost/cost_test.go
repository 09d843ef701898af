package cost

import (
	"math"
	"testing"
	"time"
)

func TestFargateBillsBySizeAndAMinuteAtLeast(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		size, arch string
		spot       bool
		ran        time.Duration
		want       float64
	}{
		{"2x4", "amd64", false, time.Hour, 0.09874},
		{"2x4", "amd64", false, 5 * time.Second, 0.09874 / 60},
		{"", "", false, time.Minute, 0.09874 / 60},
		{"what", "", false, time.Minute, 0.09874 / 60},
		{"0.25x0.5", "arm64", false, time.Hour, 0.009875},
		{"2x4", "amd64", true, time.Hour, 0.029622},
		{"2x4", "amd64", false, 0, 0},
	} {
		if got := Fargate(ParseSize(c.size), c.arch, c.spot, c.ran); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s %s for %s: %v, want %v", c.size, c.arch, c.ran, got, c.want)
		}
	}
}
