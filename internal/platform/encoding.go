package platform

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The tags of an encoded value.
const (
	tagText byte = iota + 1
	tagNumber
	tagBytes
	tagFalse
	tagTrue
	tagList
	tagMap
)

// AppendItem appends the item in a compact form in which equal items are equal
// bytes: names in order, each value a tag, a length and its bytes. Homes of our
// own store items so: it is a third of the size of DynamoDB's JSON, and is read
// without a tokeniser.
func AppendItem(b []byte, item Item) []byte { return appendMap(b, item) }

func appendMap(b []byte, m map[string]Value) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	for _, name := range sortedNames(m) {
		b = appendString(b, name)
		b = appendValue(b, m[name])
	}
	return b
}

func sortedNames(m map[string]Value) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendValue(b []byte, value Value) []byte {
	switch v := value.(type) {
	case Text:
		return appendString(append(b, tagText), v)
	case Number:
		return appendString(append(b, tagNumber), v)
	case Bytes:
		return appendString(append(b, tagBytes), v)
	case Bool:
		if v {
			return append(b, tagTrue)
		}
		return append(b, tagFalse)
	case List:
		b = binary.AppendUvarint(append(b, tagList), uint64(len(v)))
		for _, each := range v {
			b = appendValue(b, each)
		}
		return b
	case Map:
		return appendMap(append(b, tagMap), v)
	}
	return b
}

// errEncoding is bytes that AppendItem has not written.
var errEncoding = errors.New("the stored row is damaged")

// ParseItem reads what AppendItem has written, all of b.
func ParseItem(b []byte) (Item, error) {
	r := reader{rest: b}
	m := r.mapping(0)
	if r.failed || len(r.rest) > 0 {
		return nil, errEncoding
	}
	return m, nil
}

// reader takes an encoded item apart. After failed nothing it returns counts.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) mapping(depth int) map[string]Value {
	n := r.count()
	m := make(map[string]Value, n)
	last := ""
	for i := range n {
		name := string(r.bytes())
		if r.failed || (i > 0 && name <= last) {
			r.failed = true
			return nil
		}
		m[name], last = r.value(depth+1), name
	}
	return m
}

func (r *reader) value(depth int) Value {
	if len(r.rest) == 0 || depth > MaxNesting+1 {
		r.failed = true
		return nil
	}
	tag := r.rest[0]
	r.rest = r.rest[1:]
	switch tag {
	case tagText:
		return Text(r.bytes())
	case tagNumber:
		return Number(r.bytes())
	case tagBytes:
		return Bytes(append([]byte{}, r.bytes()...))
	case tagFalse, tagTrue:
		return Bool(tag == tagTrue)
	case tagList:
		list := make(List, r.count())
		for i := range list {
			list[i] = r.value(depth + 1)
		}
		return list
	case tagMap:
		return Map(r.mapping(depth))
	}
	r.failed = true
	return nil
}

// count reads a number of elements. Each has a byte at least, so that a damaged
// count cannot ask for memory that the rest does not justify.
func (r *reader) count() int {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > uint64(len(r.rest)-size) {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.count()
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// Fingerprint is a digest of the actions of a transaction, checked by
// CheckActions: equal for equal actions in equal order. It is kept beside a
// transaction's token.
func Fingerprint(actions []Action) [sha256.Size]byte {
	var b []byte
	for _, a := range actions {
		key, condition := Target(a)
		b = fmt.Appendf(b, "%T", a)
		b = appendString(b, key.pk)
		b = appendString(b, key.sk)
		b = appendCondition(b, condition)
		switch a := a.(type) {
		case Put:
			b = AppendItem(b, a.Item)
		case Update:
			b = AppendItem(b, a.Set)
			b = appendUpdated(b, a)
		}
	}
	return sha256.Sum256(b)
}

func appendUpdated(b []byte, u Update) []byte {
	b = binary.AppendUvarint(b, uint64(len(u.Remove)))
	for _, name := range slices.Sorted(slices.Values(u.Remove)) {
		b = appendString(b, name)
	}
	b = binary.AppendUvarint(b, uint64(len(u.Add)))
	for _, name := range slices.Sorted(maps.Keys(u.Add)) {
		b = appendString(b, name)
		b = binary.AppendVarint(b, u.Add[name])
	}
	return b
}

func appendCondition(b []byte, c Condition) []byte {
	b = fmt.Appendf(b, "%T", c)
	switch c := c.(type) {
	case Absent:
		return appendString(b, c.Attribute)
	case Present:
		return appendString(b, c.Attribute)
	case Equal:
		return appendValue(appendString(b, c.Attribute), c.Value)
	case Less:
		return appendValue(appendString(b, c.Attribute), c.Value)
	case AtLeast:
		return appendValue(appendString(b, c.Attribute), c.Value)
	case All:
		return appendConditions(b, c)
	case Any:
		return appendConditions(b, c)
	case Not:
		return appendCondition(b, c.Of)
	}
	return b
}

func appendConditions(b []byte, conditions []Condition) []byte {
	b = binary.AppendUvarint(b, uint64(len(conditions)))
	for _, c := range conditions {
		b = appendCondition(b, c)
	}
	return b
}
