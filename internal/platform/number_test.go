package platform

import (
	"errors"
	"math/big"
	"testing"
)

// FuzzNumber: a number keeps its value, has one spelling, and is compared and
// added as exact arithmetic says.
func FuzzNumber(f *testing.F) {
	f.Add("1.00", "1", int64(1))
	f.Add("-0.5e-3", "99999999999999999999999999999999999999", int64(-1))
	f.Add("999999999999999999", "1e125", int64(999999999999999999))
	f.Add("-.0", "007", int64(-7))
	f.Fuzz(func(t *testing.T, one, two string, delta int64) {
		a, errA := normalNumber(Number(one))
		b, errB := normalNumber(Number(two))
		if errA != nil || errB != nil {
			if err := errors.Join(errA, errB); !errors.Is(err, ErrInvalid) {
				t.Errorf("%q, %q: %v", one, two, err)
			}
			return
		}
		x, y := exact(t, one), exact(t, two)
		if exact(t, string(a)).Cmp(x) != 0 {
			t.Errorf("%q has become %q", one, a)
		}
		if again, err := normalNumber(a); again != a || err != nil {
			t.Errorf("%q is normal, and becomes %q (%v)", a, again, err)
		}
		if (a == b) != (x.Cmp(y) == 0) {
			t.Errorf("%q and %q are spelt %q and %q", one, two, a, b)
		}
		if got := compareNumbers(Number(one), Number(two)); sign(got) != x.Cmp(y) {
			t.Errorf("%q against %q: %d, want %d", one, two, got, x.Cmp(y))
		}
		sum, err := addNumber(Number(one), delta)
		want := new(big.Rat).Add(x, new(big.Rat).SetInt64(delta))
		if err == nil && exact(t, string(sum)).Cmp(want) != 0 {
			t.Errorf("%q + %d = %q", one, delta, sum)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q + %d: %v", one, delta, err)
		}
	})
}

func exact(t *testing.T, s string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("%q was accepted as a number", s)
	}
	return r
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

// A sum that needs more digits than are kept is refused, not rounded.
func TestAddKeepsEveryDigit(t *testing.T) {
	for _, tt := range []struct {
		n     Number
		delta int64
		want  Number
	}{
		{"99999999999999999999999999999999999999", 1, "100000000000000000000000000000000000000"},
		{"100000000000000000000000000000000000000", 1, ""},
		{"0.00000000000000000000000000000000000001", 1, ""},
		{"0.5", -1, "-0.5"},
		{"9223372036854775807", 9223372036854775807, "18446744073709551614"},
		{"-9223372036854775808", -9223372036854775808, "-18446744073709551616"},
	} {
		got, err := addNumber(tt.n, tt.delta)
		if got != tt.want || errors.Is(err, ErrInvalid) != (tt.want == "") {
			t.Errorf("%s + %d = %q, %v; want %q", tt.n, tt.delta, got, err, tt.want)
		}
	}
}
