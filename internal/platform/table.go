package platform

import (
	"context"
	"time"
)

// Row is an item with its key.
type Row struct {
	Key  RowKey
	Item Item
}

// Action is one part of a write: Put, Update, Delete or Check. A nil If always
// holds.
type Action interface{ action() }

type (
	// Put stores the whole item.
	Put struct {
		Key  RowKey
		Item Item
		If   Condition
	}
	// Update changes some attributes, and makes the row if there is none. Add
	// adds to a number, from 0 if there is none. An attribute is in one of Set,
	// Remove and Add only (ErrInvalid).
	Update struct {
		Key    RowKey
		Set    Item
		Remove []string
		Add    map[string]int64
		If     Condition
	}
	// Delete removes the row; no row is no error.
	Delete struct {
		Key RowKey
		If  Condition
	}
	// Check changes nothing and holds the transaction to its condition.
	Check struct {
		Key RowKey
		If  Condition
	}
)

func (Put) action()    {}
func (Update) action() {}
func (Delete) action() {}
func (Check) action()  {}

// Query reads rows of one partition, of the table or of an index, in the order of
// the bytes of their sort keys.
type Query struct {
	Partition Partition
	Index     Index      // Base reads the table itself, consistently; an index may be seconds old
	Prefix    SortPrefix // only sort keys that begin with it; of an index: made by IndexPrefix
	Until     string     // if set: only index sort keys whose bytes are before it (due work: Partition.Index(now).SK())
	Filter    Condition  // applied after Limit, so that a page may be empty and not the last
	Reverse   bool
	Limit     int    // rows looked at for a page; 0 is the driver's choice (at most 1 MB)
	Cursor    string // of the page before
}

// Index chooses what a query reads.
type Index int

const (
	Base  Index = iota // the table
	List1              // GSI1, what an organization has
	Due                // GSI2, what is due
)

// IndexPrefix selects index sort keys by their first whole parts.
func IndexPrefix(parts ...string) SortPrefix { return SortPrefix{join("", parts...)} }

// Page is one answer of a query. Cursor is "" on the last page. A cursor is bound
// to its query (partition, index, prefix, direction): another one is ErrInvalid.
type Page struct {
	Rows   []Row
	Cursor string
}

// Table keeps rows, as DynamoDB does. When a write returns it is durable, and
// every later read of that key sees it. All methods may be called concurrently.
// Sort order is that of UTF-8 bytes. A row whose ExpiresAttribute has passed is
// never returned, though it may still fail a condition.
//
// A write that is refused is a *WriteError, with the row as it was.
//
// Source: DynamoDB Developer Guide (conditional writes, transactions, queries).
type Table interface {
	// Get reads one row, consistently, or fails with ErrNotFound.
	Get(ctx context.Context, key RowKey) (Item, error)

	// GetMany reads up to any number of rows (the driver splits), consistently
	// each and not together; rows that are not there are left out.
	GetMany(ctx context.Context, keys []RowKey) ([]Row, error)

	// Write does one action and returns the row as it is afterwards (nil after
	// Delete and Check).
	Write(ctx context.Context, action Action) (Item, error)

	// Transact does 1 to 100 actions, on different rows, of at most 4 MB, or none
	// of them. token, if not "", makes a repeat within 10 minutes harmless: the
	// same actions are done once, others under it are ErrInvalid.
	Transact(ctx context.Context, token string, actions ...Action) error

	// PutMany stores items without conditions and not together, in any order; the
	// driver splits and repeats until all are stored or ctx ends.
	PutMany(ctx context.Context, rows []Row) error

	// Query reads one page.
	Query(ctx context.Context, q Query) (Page, error)
}

// Change is one change of one row. Old is nil for a new row, New for a deleted
// one. A write that changes nothing makes no Change.
type Change struct {
	Seq      string // position in the feed; grows for each row, says nothing between rows
	Key      RowKey
	Old, New Item
	At       time.Time
}

// Handler takes changes and answers how many of them, from the first, it is done
// with. Those after come again, after a pause, and the changes of one row always
// in order. It may see a change twice. This is the shape of a Lambda batch.
type Handler func(ctx context.Context, changes []Change) (done int, err error)

// Feed brings the changes of the table to consumers. Each consumer has a position
// of its own, durable in a durable home, and one that hangs holds up nobody else.
// Changes are kept for 24 hours at most. There is no order between rows.
//
// Source: DynamoDB Streams, Lambda event source mappings.
type Feed interface {
	// Consume calls handle until ctx ends, and returns nil then. A consumer that
	// is new begins with the oldest change that is kept. One name, one consumer
	// at a time: another one is ErrExists. Any other error is the store's own;
	// who calls again goes on where it was.
	Consume(ctx context.Context, consumer string, handle Handler) error
}
