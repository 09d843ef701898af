package platform

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// Position is a place between the rows of a query: behind the row of that key,
// though it may be gone by now. Sort is the sort key that the query reads by,
// which is the row's own on the base table.
type Position struct {
	Sort string
	Row  RowKey
}

// cursorVersion begins every cursor; a cursor of another version is refused.
const cursorVersion = 1

// bindingSize is how many bytes of the query's digest a cursor carries.
const bindingSize = 8

// Check refuses a query that no home can answer (ErrInvalid).
func (q Query) Check() error {
	switch {
	case q.Index < Base || q.Index > Due:
		return fmt.Errorf("%w: there is no index %d", ErrInvalid, q.Index)
	case q.Limit < 0:
		return fmt.Errorf("%w: a limit of %d", ErrInvalid, q.Limit)
	}
	if err := checkPart("partition key", q.Partition.pk, MaxPartitionKey); err != nil {
		return err
	}
	return CheckCondition(q.Filter)
}

// CursorAt is the cursor of the page that begins behind a row of this query.
func (q Query) CursorAt(at Position) string {
	b := make([]byte, 0, 64+len(at.Sort)+len(at.Row.pk)+len(at.Row.sk))
	b = append(b, cursorVersion)
	b = append(b, q.binding()...)
	for _, part := range []string{at.Sort, at.Row.pk, at.Row.sk} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// Position is where the query's cursor points to; ok is false without a cursor.
// A cursor that CursorAt has not made for this partition, index, prefix and
// direction is ErrInvalid.
func (q Query) Position() (at Position, ok bool, err error) {
	if q.Cursor == "" {
		return Position{}, false, nil
	}
	at, err = q.parseCursor()
	if err != nil {
		return Position{}, false, fmt.Errorf("%w: the cursor is not of this list: begin again without one", ErrInvalid)
	}
	return at, true, nil
}

func (q Query) parseCursor() (Position, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.Cursor)
	if err != nil {
		return Position{}, err
	}
	if len(b) < 1+bindingSize || b[0] != cursorVersion || string(b[1:1+bindingSize]) != string(q.binding()) {
		return Position{}, ErrInvalid
	}
	b = b[1+bindingSize:]
	var parts [3]string
	for i := range parts {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return Position{}, ErrInvalid
		}
		parts[i], b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	at := Position{Sort: parts[0], Row: RowKey{parts[1], parts[2]}}
	if len(b) > 0 || !q.holds(at) || q.CursorAt(at) != q.Cursor {
		return Position{}, ErrInvalid
	}
	return at, nil
}

// holds says whether the query may have come by this position: DynamoDB refuses
// a start outside of the query's bounds, and so does every home.
func (q Query) holds(at Position) bool {
	from, to := q.Bounds()
	if CheckKey(at.Row) != nil || at.Sort < from || (to != "" && at.Sort >= to) {
		return false
	}
	return q.Index != Base || (at.Row.pk == q.Partition.pk && at.Row.sk == at.Sort)
}

// Bounds are the sort keys that the query selects: those from the first, without
// the second. A second of "" is no bound.
func (q Query) Bounds() (from, to string) {
	from, to = q.Prefix.sk, after(q.Prefix.sk)
	if q.Until != "" && (to == "" || q.Until < to) {
		to = q.Until
	}
	return from, to
}

// after is the first string behind all those that begin with prefix, "" if there
// is none.
func after(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}

// binding is a digest of what a cursor belongs to. Until is no part of it: who
// pages through due work may ask with a later instant for each page.
func (q Query) binding() []byte {
	digest := sha256.New()
	for _, part := range []string{q.Partition.pk, q.Prefix.sk} {
		fmt.Fprintf(digest, "%d:%s", len(part), part)
	}
	fmt.Fprintf(digest, "%d%t", q.Index, q.Reverse)
	return digest.Sum(nil)[:bindingSize]
}
