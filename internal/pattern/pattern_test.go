package pattern

import "testing"

func TestLateIsCompiledOnceAndAtItsFirstUse(t *testing.T) {
	t.Parallel()
	broken := Late("(") // no panic here
	p := Late(`^a+$`)
	if first := p(); first != p() || !p().MatchString("aa") || p().MatchString("b") {
		t.Error("it is not the expression")
	}
	defer func() {
		if recover() == nil {
			t.Error("a broken expression was compiled")
		}
	}()
	broken()
}
