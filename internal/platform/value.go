package platform

import (
	"strconv"
	"time"
)

// Item is a row: its attributes by name. The attributes below are the port's own.
//
// A driver refuses an item above 300 KB, a nesting above 32, an empty attribute
// name, a Text or name that is not UTF-8, a Number that is no decimal or has more
// than 38 digits, and an index or expiry attribute that is empty or of another
// type (ErrTooLarge, ErrInvalid). It keeps numbers normalised: 1.00 is 1. What is
// given to a driver and what it returns is a copy: nobody shares an Item with it.
//
// Source: DynamoDB Developer Guide, limits and data types.
type Item map[string]Value

// Attributes with a meaning of their own.
const (
	KeyAttribute     = "pk"      // stands for the row itself in Absent and Present; never in an Item
	SortAttribute    = "sk"      // the key's other half; never in an Item
	ListPartition    = "gsi1pk"  // GSI1: what an organization has; both or neither
	ListSort         = "gsi1sk"  //
	DuePartition     = "gsi2pk"  // GSI2: due#<shard>, and the deadline; both or neither
	DueSort          = "gsi2sk"  //
	ExpiresAttribute = "expires" // Unix seconds, a Number; an expired row is as good as gone
)

// Value is one of Text, Number, Bytes, Bool, List and Map.
type Value interface{ value() }

type (
	// Text is a string; it may be empty, except as an index key.
	Text string
	// Number is decimal text, as DynamoDB's is.
	Number string
	// Bytes is binary data.
	Bytes []byte
	// Bool is true or false.
	Bool bool
	// List is values in order.
	List []Value
	// Map is values by name.
	Map map[string]Value
)

func (Text) value()   {}
func (Number) value() {}
func (Bytes) value()  {}
func (Bool) value()   {}
func (List) value()   {}
func (Map) value()    {}

// Int is n as a Number.
func Int[T ~int | ~int32 | ~int64 | ~uint32 | ~uint16](n T) Number {
	return Number(strconv.FormatInt(int64(n), 10))
}

// Stamp is t as Text that sorts by time: UTC, RFC 3339, nanoseconds, padded.
func Stamp(t time.Time) Text { return Text(t.UTC().Format("2006-01-02T15:04:05.000000000Z")) }

// Text is the attribute as a string, "" if absent or of another type.
func (i Item) Text(name string) string {
	s, _ := i[name].(Text)
	return string(s)
}

// Int is the attribute as a whole number, 0 if absent or no whole number.
func (i Item) Int(name string) int64 {
	n, ok := i[name].(Number)
	if !ok {
		return 0
	}
	whole, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return 0
	}
	return whole
}

// Bool is the attribute as a bool, false if absent or of another type.
func (i Item) Bool(name string) bool {
	b, _ := i[name].(Bool)
	return bool(b)
}

// Bytes is the attribute as binary data, nil if absent or of another type.
func (i Item) Bytes(name string) []byte {
	b, _ := i[name].(Bytes)
	return b
}

// Time is an attribute that Stamp wrote, the zero time if there is none.
func (i Item) Time(name string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, i.Text(name))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Texts is a list of strings, nil if absent or of another type.
func (i Item) Texts(name string) []string {
	list, _ := i[name].(List)
	var texts []string
	for _, v := range list {
		if t, ok := v.(Text); ok {
			texts = append(texts, string(t))
		}
	}
	return texts
}

// TextList is a list of strings as a Value.
func TextList(texts []string) List {
	list := make(List, len(texts))
	for i, t := range texts {
		list[i] = Text(t)
	}
	return list
}

// Expired says whether the row's time has passed at now.
func (i Item) Expired(now time.Time) bool {
	_, expires := i[ExpiresAttribute]
	return expires && i.Int(ExpiresAttribute) <= now.Unix()
}

// Clone is a copy that shares nothing with i. That of nil is nil.
func (i Item) Clone() Item {
	if i == nil {
		return nil
	}
	copied := make(Item, len(i))
	for name, v := range i {
		copied[name] = cloneValue(v)
	}
	return copied
}

func cloneValue(v Value) Value {
	switch v := v.(type) {
	case Bytes:
		return append(make(Bytes, 0, len(v)), v...)
	case List:
		copied := make(List, len(v))
		for i := range v {
			copied[i] = cloneValue(v[i])
		}
		return copied
	case Map:
		return Map(Item(v).Clone())
	}
	return v
}

// IndexKey is where the row stands in an index, if it does.
func (i Item) IndexKey(index Index) (at IndexKey, ok bool) {
	switch index {
	case List1:
		at = IndexKey{i.Text(ListPartition), i.Text(ListSort)}
	case Due:
		at = IndexKey{i.Text(DuePartition), i.Text(DueSort)}
	}
	return at, at.pk != ""
}

// InList adds the attributes that put a row into GSI1 and returns the item.
func (i Item) InList(at IndexKey) Item {
	i[ListPartition], i[ListSort] = Text(at.pk), Text(at.sk)
	return i
}

// DueAt adds the attributes that put a row into GSI2 and returns the item.
func (i Item) DueAt(at IndexKey) Item {
	i[DuePartition], i[DueSort] = Text(at.pk), Text(at.sk)
	return i
}
