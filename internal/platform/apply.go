package platform

import (
	"fmt"
	"slices"
)

// Target is the row that an action is about, and its condition.
func Target(a Action) (RowKey, Condition) {
	switch a := a.(type) {
	case Put:
		return a.Key, a.If
	case Update:
		return a.Key, a.If
	case Delete:
		return a.Key, a.If
	case Check:
		return a.Key, a.If
	}
	return RowKey{}, nil
}

// Next is the row after an action whose condition holds: nil is no row. The
// action has passed CheckAction, old is the home's own; the result shares values
// with both, so that a home never changes an item that it keeps.
func Next(a Action, old Item) (Item, error) {
	switch a := a.(type) {
	case Put:
		return a.Item, nil
	case Update:
		return Apply(a, old)
	case Delete:
		return nil, nil
	}
	return old, nil
}

// Apply is the row after an update, or why there can be none: Add to what is no
// Number, a sum of too many digits, an index key without its other half
// (ErrInvalid), a row that has grown past MaxItem (ErrTooLarge). See Next.
func Apply(u Update, old Item) (Item, error) {
	next := make(Item, len(old)+len(u.Set)+len(u.Add))
	for name, value := range old {
		next[name] = value
	}
	for name, value := range u.Set {
		next[name] = value
	}
	for _, name := range u.Remove {
		delete(next, name)
	}
	for name, delta := range u.Add {
		sum, err := addTo(next[name], delta)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		next[name] = sum
	}
	return next, checkRow(u.Key, next)
}

func addTo(value Value, delta int64) (Number, error) {
	if value == nil {
		return Int(delta), nil
	}
	n, ok := value.(Number)
	if !ok {
		return "", fmt.Errorf("%w: Add to a %T", ErrInvalid, value)
	}
	return addNumber(n, delta)
}

// CheckAction returns the action as a home may keep it: checked, its items copied
// and normalised (ErrInvalid, ErrTooLarge).
func CheckAction(a Action) (Action, error) {
	key, condition := Target(a)
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if err := CheckCondition(condition); err != nil {
		return nil, err
	}
	switch a := a.(type) {
	case Put:
		item, err := CheckItem(key, a.Item)
		a.Item = item
		return a, err
	case Update:
		if err := checkUpdate(a); err != nil {
			return nil, err
		}
		set, err := keepAttributes(a.Set)
		a.Set = set
		return a, err
	case Check:
		if a.If == nil {
			return nil, fmt.Errorf("%w: a check without a condition", ErrInvalid)
		}
	}
	return a, nil
}

// checkUpdate holds an update to naming each attribute once, and to what can be
// seen of index keys before the row is known.
func checkUpdate(u Update) error {
	for _, name := range u.Remove {
		if err := checkUpdated(u, name); err != nil {
			return err
		}
		if _, set := u.Set[name]; set {
			return twice(name)
		}
	}
	for name := range u.Add {
		if err := checkUpdated(u, name); err != nil {
			return err
		}
		if _, set := u.Set[name]; set || slices.Contains(u.Remove, name) {
			return twice(name)
		}
	}
	if size := RowSize(u.Key, u.Set); size > MaxItem {
		return fmt.Errorf("%w: the update has %d bytes, a row at most %d", ErrTooLarge, size, MaxItem)
	}
	for _, name := range []string{ListPartition, ListSort, DuePartition, DueSort} {
		value, set := u.Set[name]
		if text, ok := value.(Text); set && (!ok || text == "") {
			return fmt.Errorf("%w: %s is a Text that is not empty", ErrInvalid, name)
		}
	}
	return nil
}

func checkUpdated(u Update, name string) error {
	if name == KeyAttribute || name == SortAttribute {
		return fmt.Errorf("%w: attribute %s belongs to the key", ErrInvalid, name)
	}
	return checkName(name)
}

func twice(name string) error {
	return fmt.Errorf("%w: attribute %s is changed twice by one update", ErrInvalid, name)
}

// CheckActions checks the actions of a transaction, each and together: 1 to
// MaxActions, on different rows (ErrInvalid), of at most MaxTransaction bytes
// (ErrTooLarge). The actions returned are the home's own.
func CheckActions(token string, actions []Action) ([]Action, error) {
	switch {
	case len(actions) == 0 || len(actions) > MaxActions:
		return nil, fmt.Errorf("%w: a transaction of %d actions; it has 1 to %d", ErrInvalid, len(actions), MaxActions)
	case len(token) > MaxToken:
		return nil, fmt.Errorf("%w: a token of %d bytes; it has at most %d", ErrInvalid, len(token), MaxToken)
	}
	checked := make([]Action, len(actions))
	seen := make(map[RowKey]int, len(actions))
	total := 0
	for i, a := range actions {
		own, err := CheckAction(a)
		if err != nil {
			return nil, fmt.Errorf("action %d: %w", i, err)
		}
		key, _ := Target(own)
		if first, twice := seen[key]; twice {
			return nil, fmt.Errorf("%w: actions %d and %d are on one row", ErrInvalid, first, i)
		}
		seen[key] = i
		checked[i] = own
		total += actionSize(own)
	}
	if total > MaxTransaction {
		return nil, fmt.Errorf("%w: a transaction of %d bytes; it has at most %d", ErrTooLarge, total, MaxTransaction)
	}
	return checked, nil
}

func actionSize(a Action) int {
	switch a := a.(type) {
	case Put:
		return RowSize(a.Key, a.Item)
	case Update:
		return RowSize(a.Key, a.Set)
	}
	key, _ := Target(a)
	return RowSize(key, nil)
}

// CheckRows checks what PutMany is given: rows, each of another key. The rows
// returned are the home's own.
func CheckRows(rows []Row) ([]Row, error) {
	checked := make([]Row, len(rows))
	seen := make(map[RowKey]bool, len(rows))
	for i, row := range rows {
		if err := CheckKey(row.Key); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
		item, err := CheckItem(row.Key, row.Item)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
		if seen[row.Key] {
			return nil, fmt.Errorf("%w: row %d is there twice, and nothing says which one wins", ErrInvalid, i)
		}
		seen[row.Key] = true
		checked[i] = Row{row.Key, item}
	}
	return checked, nil
}
