package platform

import "strings"

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
// bytes: join escapes the separator, so that no input can leave its segment.
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

var (
	escape   = strings.NewReplacer("%", "%25", "#", "%23")
	unescape = strings.NewReplacer("%25", "%", "%23", "#")
)

// join ends every part with #, so that a prefix made of whole parts never
// matches the beginning of a longer part.
func join(first string, rest ...string) string {
	var b strings.Builder
	b.WriteString(escape.Replace(first))
	b.WriteByte('#')
	for _, part := range rest {
		b.WriteString(escape.Replace(part))
		b.WriteByte('#')
	}
	return b.String()
}

func split(key string) []string {
	parts := strings.Split(strings.TrimSuffix(key, "#"), "#")
	for i := range parts {
		parts[i] = unescape.Replace(parts[i])
	}
	return parts
}
