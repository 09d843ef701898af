package asl

import (
	"crypto/md5"  //nolint:gosec // States.Hash offers it
	"crypto/sha1" //nolint:gosec // States.Hash offers it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// function is one intrinsic function, with how many arguments it takes; most is
// -1 where there is no limit.
type function struct {
	least, most int
	run         func(a []any, env *Env) (any, error)
}

// functions are all that the specification has (Appendix B), by name.
var functions = map[string]function{
	"Array":          {0, -1, func(a []any, _ *Env) (any, error) { return a, nil }},
	"ArrayContains":  {2, 2, arrayContains},
	"ArrayGetItem":   {2, 2, arrayGetItem},
	"ArrayLength":    {1, 1, arrayLength},
	"ArrayPartition": {2, 2, arrayPartition},
	"ArrayRange":     {3, 3, arrayRange},
	"ArrayUnique":    {1, 1, arrayUnique},
	"Base64Decode":   {1, 1, base64Decode},
	"Base64Encode":   {1, 1, base64Encode},
	"Format":         {1, -1, format},
	"Hash":           {2, 2, hash},
	"JsonMerge":      {3, 3, jsonMerge},
	"JsonToString":   {1, 1, func(a []any, _ *Env) (any, error) { return text(a[0]), nil }},
	"MathAdd":        {2, 2, mathAdd},
	"MathRandom":     {2, 3, mathRandom},
	"StringSplit":    {2, 2, stringSplit},
	"StringToJson":   {1, 1, stringToJSON},
	"UUID":           {0, 0, func(_ []any, env *Env) (any, error) { return env.UUID(), nil }},
}

// Limits of the intrinsic functions (Developer Guide, "Intrinsic functions").
const (
	maxRange   = 1000  // elements of States.ArrayRange
	maxEncoded = 10000 // characters that are encoded, decoded or hashed
)

func arrayOf(v any) ([]any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is no array", text(v))
	}
	return list, nil
}

func stringOf(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s is no string", text(v))
	}
	return s, nil
}

// rounded is a number as an integer. The service rounds as Java does: halves go up.
func rounded(v any) (int64, error) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, fmt.Errorf("%s is no number", text(v))
	}
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	f, err := n.Float64()
	if err != nil || math.Abs(f) >= math.MaxInt64 {
		return 0, fmt.Errorf("%s is too large", n)
	}
	return int64(math.Floor(f + 0.5)), nil
}

func arrayContains(a []any, _ *Env) (any, error) {
	list, err := arrayOf(a[0])
	return slices.ContainsFunc(list, func(e any) bool { return equal(e, a[1]) }), err
}

func arrayGetItem(a []any, _ *Env) (any, error) {
	list, err := arrayOf(a[0])
	if err != nil {
		return nil, err
	}
	i, err := rounded(a[1])
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= int64(len(list)) {
		return nil, fmt.Errorf("there is no item %d in an array of %d", i, len(list))
	}
	return list[i], nil
}

func arrayLength(a []any, _ *Env) (any, error) {
	list, err := arrayOf(a[0])
	return number(len(list)), err
}

func arrayPartition(a []any, _ *Env) (any, error) {
	list, err := arrayOf(a[0])
	if err != nil {
		return nil, err
	}
	width, err := rounded(a[1])
	if err != nil {
		return nil, err
	}
	if width < 1 {
		return nil, errors.New("a chunk has at least one item")
	}
	chunks := []any{}
	for chunk := range slices.Chunk(list, int(min(width, math.MaxInt32))) {
		chunks = append(chunks, slices.Clone(chunk))
	}
	return chunks, nil
}

func arrayRange(a []any, _ *Env) (any, error) {
	var bounds [3]int64
	for i := range bounds {
		n, err := rounded(a[i])
		if err != nil {
			return nil, err
		}
		bounds[i] = n
	}
	first, last, width := bounds[0], bounds[1], bounds[2]
	if width == 0 {
		return nil, errors.New("the step of a range is not 0")
	}
	list := []any{}
	for i := first; width > 0 && i <= last || width < 0 && i >= last; i += width {
		if list = append(list, number(i)); len(list) > maxRange {
			return nil, fmt.Errorf("a range has at most %d items", maxRange)
		}
	}
	return list, nil
}

func arrayUnique(a []any, _ *Env) (any, error) {
	list, err := arrayOf(a[0])
	unique := []any{}
	for _, e := range list {
		if !slices.ContainsFunc(unique, func(u any) bool { return equal(u, e) }) {
			unique = append(unique, e)
		}
	}
	return unique, err
}

func base64Encode(a []any, _ *Env) (any, error) {
	s, err := encodable(a[0])
	return base64.StdEncoding.EncodeToString([]byte(s)), err
}

func base64Decode(a []any, _ *Env) (any, error) {
	s, err := encodable(a[0])
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	return strings.ToValidUTF8(string(b), "\ufffd"), err
}

func encodable(v any) (string, error) {
	s, err := stringOf(v)
	if err == nil && len([]rune(s)) > maxEncoded {
		err = fmt.Errorf("it has more than %d characters", maxEncoded)
	}
	return s, err
}

func hash(a []any, _ *Env) (any, error) {
	data, ok := a[0].(string)
	if !ok {
		data = text(a[0])
	}
	if _, err := encodable(data); err != nil {
		return nil, err
	}
	algorithm, err := stringOf(a[1])
	if err != nil {
		return nil, err
	}
	b := []byte(data)
	switch algorithm {
	case "MD5":
		return hexOf(md5.Sum(b)), nil //nolint:gosec // see above
	case "SHA-1":
		return hexOf(sha1.Sum(b)), nil //nolint:gosec // see above
	case "SHA-256":
		return hexOf(sha256.Sum256(b)), nil
	case "SHA-384":
		return hexOf(sha512.Sum384(b)), nil
	case "SHA-512":
		return hexOf(sha512.Sum512(b)), nil
	}
	return nil, fmt.Errorf("there is no algorithm %q: it is MD5, SHA-1, SHA-256, SHA-384 or SHA-512", algorithm)
}

func hexOf[T [16]byte | [20]byte | [32]byte | [48]byte | [64]byte](sum T) string {
	switch s := any(sum).(type) {
	case [16]byte:
		return hex.EncodeToString(s[:])
	case [20]byte:
		return hex.EncodeToString(s[:])
	case [32]byte:
		return hex.EncodeToString(s[:])
	case [48]byte:
		return hex.EncodeToString(s[:])
	case [64]byte:
		return hex.EncodeToString(s[:])
	}
	return ""
}

func jsonMerge(a []any, _ *Env) (any, error) {
	left, okLeft := a[0].(map[string]any)
	right, okRight := a[1].(map[string]any)
	if !okLeft || !okRight {
		return nil, errors.New("it merges two objects")
	}
	if deep, ok := a[2].(bool); !ok || deep {
		return nil, errors.New("it merges shallow only: the third argument is false")
	}
	merged := maps.Clone(left)
	maps.Copy(merged, right)
	return merged, nil
}

func mathAdd(a []any, _ *Env) (any, error) {
	x, err := rounded(a[0])
	if err != nil {
		return nil, err
	}
	y, err := rounded(a[1])
	return number(x + y), err
}

// mathRandom answers an integer from the first argument up to, without, the
// second. A third one seeds: the same seed gives the same number.
func mathRandom(a []any, env *Env) (any, error) {
	from, err := rounded(a[0])
	if err != nil {
		return nil, err
	}
	to, err := rounded(a[1])
	if err != nil {
		return nil, err
	}
	if to <= from {
		return nil, errors.New("the end is after the beginning")
	}
	fraction := env.Random
	if len(a) == 3 {
		seed, err := rounded(a[2])
		if err != nil {
			return nil, err
		}
		fraction = rand.New(rand.NewPCG(uint64(seed), 0)).Float64 //nolint:gosec // a seed is asked for
	}
	return number(from + int64(fraction()*float64(to-from))), nil
}

// stringSplit cuts at each character of the second argument; empty pieces are
// left out, as the service does.
func stringSplit(a []any, _ *Env) (any, error) {
	s, err := stringOf(a[0])
	if err != nil {
		return nil, err
	}
	at, err := stringOf(a[1])
	if err != nil {
		return nil, err
	}
	pieces := []any{}
	for _, piece := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(at, r) }) {
		pieces = append(pieces, piece)
	}
	return pieces, nil
}

func stringToJSON(a []any, _ *Env) (any, error) {
	s, err := stringOf(a[0])
	if err != nil || strings.TrimSpace(s) == "" {
		return nil, err
	}
	return Decode([]byte(s))
}

// format replaces each {} that is not escaped by the next argument.
func format(a []any, _ *Env) (any, error) {
	template, err := stringOf(a[0])
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	next := 1
	for i := 0; i < len(template); i++ {
		switch c := template[i]; {
		case c == '\\' && i+1 < len(template):
			i++
			b.WriteByte(template[i])
		case c == '{' && strings.HasPrefix(template[i:], "{}"):
			if next == len(a) {
				return nil, errors.New("there are more {} than arguments")
			}
			b.WriteString(plain(a[next]))
			next++
			i++
		default:
			b.WriteByte(c)
		}
	}
	if next < len(a) {
		return nil, errors.New("there are more arguments than {}")
	}
	return b.String(), nil
}

// plain is a value as States.Format writes it: strings without quotes, arrays and
// objects as Java prints them.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = plain(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, k+"="+plain(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return text(v)
}
