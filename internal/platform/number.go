package platform

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Limits of a Number: significant digits, and powers of ten.
const (
	MaxDigits   = 38
	maxExponent = 125
	minExponent = -130
)

// plainDigits is how many digits always fit an int64.
const plainDigits = 18

// normalNumber is the one spelling of a number's value: decimal without an
// exponent, without a plus and without zeros that mean nothing. 1.00 is 1.
//
// Source: DynamoDB Developer Guide, data types, number.
func normalNumber(n Number) (Number, error) {
	if isPlain(string(n)) {
		return n, nil
	}
	digits, point, negative, ok := scanNumber(string(n))
	if !ok {
		return "", fmt.Errorf("%w: %q is no decimal number", ErrInvalid, n)
	}
	trimmed := strings.TrimLeft(digits, "0")
	point -= len(digits) - len(trimmed)
	trimmed = strings.TrimRight(trimmed, "0")
	switch {
	case trimmed == "":
		return "0", nil
	case len(trimmed) > MaxDigits:
		return "", fmt.Errorf("%w: number %q has %d digits, at most %d are kept", ErrInvalid, n, len(trimmed), MaxDigits)
	case point-1 > maxExponent || point-1 < minExponent:
		return "", fmt.Errorf("%w: number %q is outside 1E%d to 1E+%d", ErrInvalid, n, minExponent, maxExponent+1)
	}
	return Number(spell(trimmed, point, negative)), nil
}

// isPlain recognises what Int writes, which is normal already.
func isPlain(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || len(digits) > plainDigits || (digits[0] == '0' && len(s) > 1) {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}

// scanNumber reads [+-]digits[.digits][e[+-]digits]. point is where the decimal
// point is, counted in digits from the first.
func scanNumber(s string) (digits string, point int, negative, ok bool) {
	switch {
	case strings.HasPrefix(s, "-"):
		s, negative = s[1:], true
	case strings.HasPrefix(s, "+"):
		s = s[1:]
	}
	mantissa, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		value, err := strconv.ParseInt(s[i+1:], 10, 16)
		if err != nil {
			return "", 0, false, false
		}
		mantissa, exponent = s[:i], int(value)
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", 0, false, false
	}
	return digits, len(whole) + exponent, negative, true
}

// spell writes digits, none of which is a needless zero, with the decimal point
// after the first point of them.
func spell(digits string, point int, negative bool) string {
	sign := ""
	if negative {
		sign = "-"
	}
	switch {
	case point <= 0:
		return sign + "0." + strings.Repeat("0", -point) + digits
	case point >= len(digits):
		return sign + digits + strings.Repeat("0", point-len(digits))
	}
	return sign + digits[:point] + "." + digits[point:]
}

// compareNumbers orders two numbers by value. What is no number is before all.
func compareNumbers(a, b Number) int {
	if a == b {
		return 0
	}
	a, errA := normalNumber(a)
	b, errB := normalNumber(b)
	if errA != nil || errB != nil {
		return strings.Compare(string(a), string(b))
	}
	aNegative, bNegative := strings.HasPrefix(string(a), "-"), strings.HasPrefix(string(b), "-")
	switch {
	case aNegative && bNegative:
		return compareMagnitudes(string(b[1:]), string(a[1:]))
	case aNegative:
		return -1
	case bNegative:
		return 1
	}
	return compareMagnitudes(string(a), string(b))
}

func compareMagnitudes(a, b string) int {
	aWhole, aFraction, _ := strings.Cut(a, ".")
	bWhole, bFraction, _ := strings.Cut(b, ".")
	if d := len(aWhole) - len(bWhole); d != 0 {
		return d
	}
	if d := strings.Compare(aWhole, bWhole); d != 0 {
		return d
	}
	return strings.Compare(aFraction, bFraction)
}

// addNumber is n + delta, exactly.
func addNumber(n Number, delta int64) (Number, error) {
	if isPlain(string(n)) && delta > -1e18 && delta < 1e18 {
		value, err := strconv.ParseInt(string(n), 10, 64)
		if err == nil { // two numbers below 1e18 cannot overflow
			return normalNumber(Int(value + delta))
		}
	}
	n, err := normalNumber(n)
	if err != nil {
		return "", err
	}
	whole, fraction, _ := strings.Cut(string(n), ".")
	sum, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok {
		return "", fmt.Errorf("%w: %q is no decimal number", ErrInvalid, n)
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(fraction))), nil)
	sum.Add(sum, scale.Mul(scale, big.NewInt(delta)))
	return normalNumber(Number(sum.String() + "e-" + strconv.Itoa(len(fraction))))
}
