package platform

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Org is a tenant. Every key starts with one: who was handed no Org can name no
// row. A request gets it from access, which has verified the caller. Drivers
// refuse Org{}.
type Org struct{ id, reason string }

// System names the organization for code that acts without a caller: the intake
// of deliveries, timers, the sweeper, consumers of queues. reason goes into the
// audit row. A test pins the list of functions that call it.
func System(id, reason string) Org { return Org{id, reason} }

// Verified names the organization of a caller whose credential has been checked.
// Only package access calls it; a test holds it to that.
func Verified(id string) Org { return Org{id: id} }

// ID is the organization's name in keys and routes.
func (o Org) ID() string { return o.id }

// Reason is why the platform acts without a caller, or "" for a caller's request.
func (o Org) Reason() string { return o.reason }

type (
	// Partition is the rows that one query reads.
	Partition struct{ pk string }
	// RowKey names one row: DynamoDB's PK and SK.
	RowKey struct{ pk, sk string }
	// SortPrefix selects the rows of a partition whose sort key begins with it.
	SortPrefix struct{ sk string }
	// IndexKey places a row in one of the two sparse indexes: GSI1 lists what an
	// organization has, GSI2 is what is due.
	IndexKey struct{ pk, sk string }
)

// Partition names the rows of one kind under their parents. A part may hold any
// bytes: join escapes the separator (and what is no UTF-8), so that no
// input can leave its segment.
func (o Org) Partition(kind string, parents ...string) Partition {
	if o.id == "" {
		return Partition{}
	}
	return Partition{join(o.id, append([]string{kind}, parents...)...)}
}

// Global is the reserved range, under an id that no organization can have. It
// answers what is asked before one is known: whose is a hook, whose a token,
// which work is due.
func Global(kind string, parents ...string) Partition {
	return Partition{join("-", append([]string{kind}, parents...)...)}
}

// Row names one row. Rows sort by the bytes of their parts: numbers are padded.
func (p Partition) Row(kind string, parts ...string) RowKey {
	return RowKey{p.pk, join(kind, parts...)}
}

// Rows selects the rows of one kind whose first parts are these.
func (p Partition) Rows(kind string, parts ...string) SortPrefix {
	return SortPrefix{join(kind, parts...)}
}

// Index places a row in an index partition, sorted by the bytes of parts.
func (p Partition) Index(parts ...string) IndexKey {
	return IndexKey{p.pk, join("", parts...)}
}

// The strings of keys, for drivers.

func (p Partition) PK() string   { return p.pk }
func (k RowKey) PK() string      { return k.pk }
func (k RowKey) SK() string      { return k.sk }
func (s SortPrefix) SK() string  { return s.sk }
func (k IndexKey) PK() string    { return k.pk }
func (k IndexKey) SK() string    { return k.sk }
func (k RowKey) Parts() []string { return split(k.sk) }

// Partition is the partition that the row is in.
func (k RowKey) Partition() Partition { return Partition{k.pk} }

// Parents are the parts of the row's partition, organization first.
func (k RowKey) Parents() []string { return split(k.pk) }

// StoredKey makes the key of a row that a driver has read from its store. Only
// drivers call it; a test holds them to that.
func StoredKey(pk, sk string) RowKey { return RowKey{pk, sk} }

// join ends every part with #, so that a prefix made of whole parts never
// matches the beginning of a longer part.
func join(first string, rest ...string) string {
	size := len(first) + 1
	for _, part := range rest {
		size += len(part) + 1
	}
	b := appendPart(make([]byte, 0, size+8), first)
	for _, part := range rest {
		b = appendPart(b, part)
	}
	return string(b)
}

// appendPart escapes the separator, the escape itself, and bytes that are not
// UTF-8, which no store of text can keep.
func appendPart(b []byte, part string) []byte {
	for i := 0; i < len(part); {
		c := part[i]
		if c < utf8.RuneSelf && c != '#' && c != '%' {
			b = append(b, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(part[i:])
		if c == '#' || c == '%' || (r == utf8.RuneError && size == 1) {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			b = append(b, part[i:i+size]...)
		}
		i += size
	}
	return append(b, '#')
}

const hexDigits = "0123456789ABCDEF"

func split(key string) []string {
	parts := strings.Split(strings.TrimSuffix(key, "#"), "#")
	for i, part := range parts {
		if strings.Contains(part, "%") {
			parts[i] = unescape(part)
		}
	}
	return parts
}

// unescape undoes appendPart. What it has not written stays as it is.
func unescape(part string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(part, "%")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if len(after) >= 2 {
			if c, err := strconv.ParseUint(after[:2], 16, 8); err == nil {
				b.WriteByte(byte(c))
				part = after[2:]
				continue
			}
		}
		b.WriteByte('%')
		part = after
	}
}
