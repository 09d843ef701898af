package memory

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/system"
)

// Table keeps rows in memory, and feeds their changes to consumers. One lock
// orders everything; an item that is stored is never changed, so that old and new
// images are shared until they leave the table.
type Table struct {
	clock platform.Clock

	mu     sync.Mutex
	rows   map[platform.RowKey]*row
	parts  [3]map[string]*ordered // by partition: the table, GSI1, GSI2
	expiry ordered                // rows that expire, by their second
	tokens map[string]done
	forget []string // tokens, oldest first
	feed   feed
}

// done is a transaction that had a token.
type done struct {
	fingerprint [sha256.Size]byte
	at          time.Time
}

// expiredKept is how long an expired row goes on failing conditions before it is
// removed: as on DynamoDB, which takes days, so that nobody trusts it to be gone.
const expiredKept = 48 * time.Hour

// NewTable returns an empty table. A nil clock is real time.
func NewTable(clock platform.Clock) *Table {
	if clock == nil {
		clock = system.Clock{}
	}
	t := &Table{
		clock:  clock,
		rows:   map[platform.RowKey]*row{},
		tokens: map[string]done{},
	}
	for i := range t.parts {
		t.parts[i] = map[string]*ordered{}
	}
	t.feed.init()
	return t
}

// Get implements [platform.Table].
func (t *Table) Get(ctx context.Context, key platform.RowKey) (platform.Item, error) {
	if err := ready(ctx, key); err != nil {
		return nil, err
	}
	if item := t.live(key); item != nil {
		return item.Clone(), nil
	}
	return nil, fmt.Errorf("row %s: %w", key.SK(), platform.ErrNotFound)
}

func ready(ctx context.Context, key platform.RowKey) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return platform.CheckKey(key)
}

// live is the stored item of a row that has not expired, or nil.
func (t *Table) live(key platform.RowKey) platform.Item {
	now := t.clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if item := t.item(key); item != nil && !item.Expired(now) {
		return item
	}
	return nil
}

// item is the stored item, or nil. The caller holds the lock.
func (t *Table) item(key platform.RowKey) platform.Item {
	if r := t.rows[key]; r != nil {
		return r.item
	}
	return nil
}

// GetMany implements [platform.Table].
func (t *Table) GetMany(ctx context.Context, keys []platform.RowKey) ([]platform.Row, error) {
	rows := make([]platform.Row, 0, len(keys))
	seen := make(map[platform.RowKey]bool, len(keys))
	for _, key := range keys {
		if err := ready(ctx, key); err != nil {
			return nil, err
		}
		if item := t.live(key); item != nil && !seen[key] {
			rows = append(rows, platform.Row{Key: key, Item: item.Clone()})
		}
		seen[key] = true
	}
	return rows, nil
}

// Write implements [platform.Table].
func (t *Table) Write(ctx context.Context, action platform.Action) (platform.Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	action, err := platform.CheckAction(action)
	if err != nil {
		return nil, err
	}
	now := t.clock.Now()
	next, err := t.write(action, now)
	if _, checked := action.(platform.Check); checked || err != nil {
		return nil, err
	}
	return next.Clone(), nil
}

func (t *Table) write(action platform.Action, now time.Time) (platform.Item, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key, condition := platform.Target(action)
	old := t.item(key)
	if !platform.Match(condition, old) {
		return nil, &platform.WriteError{Reasons: []platform.Reason{refusal(old)}}
	}
	next, err := platform.Next(action, old)
	if err != nil {
		return nil, err
	}
	t.set(key, next, now)
	t.expire(now)
	return next, nil
}

func refusal(old platform.Item) platform.Reason {
	return platform.Reason{Err: platform.ErrConditionFailed, Row: old.Clone()}
}

// Transact implements [platform.Table].
func (t *Table) Transact(ctx context.Context, token string, actions ...platform.Action) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	actions, err := platform.CheckActions(token, actions)
	if err != nil {
		return err
	}
	var print [sha256.Size]byte
	if token != "" {
		print = platform.Fingerprint(actions)
	}
	now := t.clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if before, repeated := t.tokens[token]; repeated && now.Sub(before.at) < platform.TokenKept {
		if before.fingerprint != print {
			return fmt.Errorf("%w: token %q has stood for another transaction", platform.ErrInvalid, token)
		}
		return nil
	}
	if err := t.transact(actions, now); err != nil {
		return err
	}
	if token != "" {
		t.remember(token, done{print, now})
	}
	t.expire(now)
	return nil
}

// transact does all of the actions or none.
func (t *Table) transact(actions []platform.Action, now time.Time) error {
	var refused *platform.WriteError
	for i, a := range actions {
		key, condition := platform.Target(a)
		if condition == nil {
			continue
		}
		if old := t.item(key); !platform.Match(condition, old) {
			if refused == nil {
				refused = &platform.WriteError{Reasons: make([]platform.Reason, len(actions))}
			}
			refused.Reasons[i] = refusal(old)
		}
	}
	if refused != nil {
		return refused
	}
	next := make([]platform.Item, len(actions))
	for i, a := range actions {
		key, _ := platform.Target(a)
		var err error
		if next[i], err = platform.Next(a, t.item(key)); err != nil {
			return fmt.Errorf("action %d: %w", i, err)
		}
	}
	for i, a := range actions {
		key, _ := platform.Target(a)
		t.set(key, next[i], now)
	}
	return nil
}

// remember keeps a token, and forgets those whose time is over.
func (t *Table) remember(token string, d done) {
	for len(t.forget) > 0 && d.at.Sub(t.tokens[t.forget[0]].at) >= platform.TokenKept {
		delete(t.tokens, t.forget[0])
		t.forget = t.forget[1:]
	}
	t.tokens[token] = d
	t.forget = append(t.forget, token)
}

// PutMany implements [platform.Table].
func (t *Table) PutMany(ctx context.Context, rows []platform.Row) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	rows, err := platform.CheckRows(rows)
	if err != nil {
		return err
	}
	now := t.clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range rows {
		t.set(r.Key, r.Item, now)
	}
	t.expire(now)
	return nil
}

// Query implements [platform.Table].
func (t *Table) Query(ctx context.Context, q platform.Query) (platform.Page, error) {
	if err := ctx.Err(); err != nil {
		return platform.Page{}, err
	}
	if err := q.Check(); err != nil {
		return platform.Page{}, err
	}
	at, resumed, err := q.Position()
	if err != nil {
		return platform.Page{}, err
	}
	places, cursor := t.page(q, at, resumed)
	page := platform.Page{Cursor: cursor}
	now := t.clock.Now()
	for _, r := range places {
		if !r.item.Expired(now) && platform.Match(q.Filter, r.item) {
			page.Rows = append(page.Rows, platform.Row{Key: r.key, Item: r.item.Clone()})
		}
	}
	return page, nil
}

// page is the rows that a page looks at, and the cursor behind them.
func (t *Table) page(q platform.Query, at platform.Position, resumed bool) (rows []row, cursor string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	set := t.parts[q.Index][q.Partition.PK()]
	if set == nil {
		return nil, ""
	}
	var last place
	size := 0
	from, to := q.Bounds()
	take := func(p place) bool {
		switch {
		case q.Reverse && p.sort < from, !q.Reverse && to != "" && p.sort >= to:
			return false
		case resumed && p.sort == at.Sort && p.row.key == at.Row:
			return true // the row that the cursor is behind
		case (q.Limit > 0 && len(rows) >= q.Limit) || size >= platform.MaxPage:
			cursor = q.CursorAt(platform.Position{Sort: last.sort, Row: last.row.key})
			return false
		}
		rows, last = append(rows, *p.row), p
		size += platform.RowSize(p.row.key, p.row.item)
		return true
	}
	switch start := (place{at.Sort, &row{key: at.Row}}); {
	case resumed && q.Reverse:
		set.descend(&start, take)
	case resumed:
		set.ascend(start, take)
	case q.Reverse && to == "":
		set.descend(nil, take)
	case q.Reverse:
		set.descend(&place{to, &row{}}, take)
	default:
		set.ascend(place{from, &row{}}, take)
	}
	return rows, cursor
}

// set stores a row's next item, nil for none, in the table and the indexes, and
// records the change if it is one. The caller holds the lock.
func (t *Table) set(key platform.RowKey, next platform.Item, now time.Time) {
	r := t.rows[key]
	var old platform.Item
	if r != nil {
		old = r.item
	}
	if platform.SameRow(old, next) {
		return
	}
	switch {
	case r == nil:
		r = &row{key: key}
		t.rows[key] = r
		t.partition(platform.Base, key.PK()).insert(place{key.SK(), r})
	case next == nil:
		delete(t.rows, key)
		t.drop(platform.Base, key.PK(), place{key.SK(), r})
	}
	t.reindex(r, old, next)
	r.item = next
	t.feed.append(change{key, old, next, now})
}

// reindex moves a row within the indexes from where its old item is to where its
// next one belongs.
func (t *Table) reindex(r *row, old, next platform.Item) {
	for _, index := range []platform.Index{platform.List1, platform.Due} {
		was, in := old.IndexKey(index)
		will, belongs := next.IndexKey(index)
		if was == will {
			continue
		}
		if in {
			t.drop(index, was.PK(), place{was.SK(), r})
		}
		if belongs {
			t.partition(index, will.PK()).insert(place{will.SK(), r})
		}
	}
	was, will := expirySort(old), expirySort(next)
	if was == will {
		return
	}
	if was != "" {
		t.expiry.remove(place{was, r})
	}
	if will != "" {
		t.expiry.insert(place{will, r})
	}
}

func (t *Table) partition(index platform.Index, pk string) *ordered {
	set := t.parts[index][pk]
	if set == nil {
		set = &ordered{}
		t.parts[index][pk] = set
	}
	return set
}

func (t *Table) drop(index platform.Index, pk string, p place) {
	set := t.parts[index][pk]
	set.remove(p)
	if len(set.blocks) == 0 {
		delete(t.parts[index], pk)
	}
}

// expirySort sorts rows by the second at which they expire; "" for those that
// never do, and for a second before 1970, which is filtered all the same.
func expirySort(item platform.Item) string {
	if _, expires := item[platform.ExpiresAttribute]; !expires {
		return ""
	}
	second := item.Int(platform.ExpiresAttribute)
	if second < 0 {
		return ""
	}
	return fmt.Sprintf("%019d", second)
}

// expireAtOnce bounds what a write does for rows that are none of its business.
const expireAtOnce = 8

// expire removes a few rows that have been expired for long.
func (t *Table) expire(now time.Time) {
	if len(t.expiry.blocks) == 0 {
		return
	}
	before := now.Add(-expiredKept).Unix()
	for range expireAtOnce {
		if len(t.expiry.blocks) == 0 {
			return
		}
		oldest := t.expiry.blocks[0][0].row
		if oldest.item.Int(platform.ExpiresAttribute) > before {
			return
		}
		t.set(oldest.key, nil, now)
	}
}
