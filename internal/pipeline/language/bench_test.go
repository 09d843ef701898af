package language

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// chain writes a pipeline of n stages of five lines, each waiting for the one
// before it.
func chain(n int) string {
	var text strings.Builder
	text.WriteString("pipeline \"p\"\n")
	for i := range n {
		needs := ""
		if i > 0 {
			needs = fmt.Sprintf(" needs=\"s%d\"", i-1)
		}
		fmt.Fprintf(&text, "stage \"s%d\"%s {\n    image \"node:24\"\n    timeout \"5m\"\n    run \"make s%d > ${FILE%%.txt}\"\n}\n", i, needs, i)
	}
	return text.String()
}

// BenchmarkValidate: 500 lines take at most 5 ms, 1,000 stages at most 50 ms.
func BenchmarkValidate(b *testing.B) {
	for _, size := range []struct {
		name   string
		stages int
	}{{"500 lines", 100}, {"1,000 stages", 1000}} {
		tree := fstest.MapFS{"p.kdl": {Data: []byte(chain(size.stages))}}
		b.Run(size.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, found := Load(tree, "p.kdl"); len(found) > 0 {
					b.Fatal(said(found))
				}
			}
		})
	}
}
