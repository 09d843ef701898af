package platform

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Limits of a table, in bytes where nothing else is said. They are DynamoDB's,
// except that of an item, which stays clear of DynamoDB's 400 KB.
const (
	MaxItem         = 300 << 10 // names and values, key included
	MaxNesting      = 32        // lists and maps within each other
	MaxPartitionKey = 2048
	MaxSortKey      = 1024
	MaxActions      = 100 // of a transaction
	MaxTransaction  = 4 << 20
	MaxToken        = 36      // of a transaction's token
	MaxPage         = 1 << 20 // of a query's answer
	TokenKept       = 10 * time.Minute
	ChangesKept     = 24 * time.Hour
)

// CheckKey refuses a key that no home can store: one without an organization, or
// longer than MaxPartitionKey and MaxSortKey (ErrInvalid).
func CheckKey(key RowKey) error {
	if err := checkPart("partition key", key.pk, MaxPartitionKey); err != nil {
		return err
	}
	return checkPart("sort key", key.sk, MaxSortKey)
}

func checkPart(what, part string, limit int) error {
	switch {
	case part == "":
		return fmt.Errorf("%w: the %s is empty: a key is made from an organization that is not", ErrInvalid, what)
	case len(part) > limit:
		return fmt.Errorf("%w: the %s has %d bytes, at most %d are allowed", ErrInvalid, what, len(part), limit)
	case !utf8.ValidString(part):
		return fmt.Errorf("%w: the %s is not UTF-8", ErrInvalid, what)
	}
	return nil
}

// CheckItem returns the item as a home keeps it under key: a copy that the caller
// cannot reach, with numbers normalised; or it says why none can (ErrInvalid,
// ErrTooLarge). See Item.
func CheckItem(key RowKey, item Item) (Item, error) {
	kept, err := keepAttributes(item)
	if err != nil {
		return nil, err
	}
	return kept, checkRow(key, kept)
}

// keepAttributes copies and normalises the attributes of an item, or of a part
// of one.
func keepAttributes(item Item) (Item, error) {
	kept := make(Item, len(item)+2) // room for what an update adds
	for name, value := range item {
		if err := checkName(name); err != nil {
			return nil, err
		}
		if name == KeyAttribute || name == SortAttribute {
			return nil, fmt.Errorf("%w: attribute %s belongs to the key", ErrInvalid, name)
		}
		own, err := keep(value, 1)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		kept[name] = own
	}
	return kept, nil
}

// checkRow checks what only the whole row shows: its size and its index keys.
func checkRow(key RowKey, item Item) error {
	size := RowSize(key, item)
	if size > MaxItem {
		return fmt.Errorf("%w: the row would have %d bytes, at most %d are allowed: what grows is rows or objects", ErrTooLarge, size, MaxItem)
	}
	if err := checkIndex(item, ListPartition, ListSort); err != nil {
		return err
	}
	if err := checkIndex(item, DuePartition, DueSort); err != nil {
		return err
	}
	expires, ok := item[ExpiresAttribute]
	if !ok {
		return nil
	}
	if n, ok := expires.(Number); ok {
		if _, err := strconv.ParseInt(string(n), 10, 64); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is a Number of whole seconds, not %v", ErrInvalid, ExpiresAttribute, expires)
}

func checkIndex(item Item, partition, sort string) error {
	pk, hasPK := item[partition]
	sk, hasSK := item[sort]
	if hasPK != hasSK {
		return fmt.Errorf("%w: %s and %s come together or not at all", ErrInvalid, partition, sort)
	}
	if !hasPK {
		return nil
	}
	pkText, okPK := pk.(Text)
	skText, okSK := sk.(Text)
	if !okPK || !okSK {
		return fmt.Errorf("%w: %s and %s are Text", ErrInvalid, partition, sort)
	}
	if err := checkPart(partition, string(pkText), MaxPartitionKey); err != nil {
		return err
	}
	return checkPart(sort, string(skText), MaxSortKey)
}

func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: an attribute without a name", ErrInvalid)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: attribute name %q is not UTF-8", ErrInvalid, name)
	}
	return nil
}

// keep returns a normalised copy of a value. depth counts the lists
// and maps that it would be inside of, the item included.
func keep(value Value, depth int) (Value, error) {
	switch v := value.(type) {
	case Text:
		if !utf8.ValidString(string(v)) {
			return nil, fmt.Errorf("%w: text that is not UTF-8 belongs into Bytes", ErrInvalid)
		}
		return value, nil
	case Number:
		n, err := normalNumber(v)
		if err != nil {
			return nil, err
		}
		if n != v {
			value = n
		}
		return value, nil
	case Bool:
		return value, nil
	case Bytes:
		return Bytes(append(make([]byte, 0, len(v)), v...)), nil
	case List:
		return keepList(v, depth)
	case Map:
		return keepMap(v, depth)
	}
	return nil, fmt.Errorf("%w: %T is no value", ErrInvalid, value)
}

func keepList(list List, depth int) (Value, error) {
	if depth > MaxNesting {
		return nil, errTooDeep()
	}
	kept := make(List, len(list))
	for i, value := range list {
		own, err := keep(value, depth+1)
		if err != nil {
			return nil, err
		}
		kept[i] = own
	}
	return kept, nil
}

func keepMap(m Map, depth int) (Value, error) {
	if depth > MaxNesting {
		return nil, errTooDeep()
	}
	kept := make(Map, len(m))
	for name, value := range m {
		if err := checkName(name); err != nil {
			return nil, err
		}
		own, err := keep(value, depth+1)
		if err != nil {
			return nil, err
		}
		kept[name] = own
	}
	return kept, nil
}

func errTooDeep() error {
	return fmt.Errorf("%w: lists and maps are nested deeper than %d", ErrInvalid, MaxNesting)
}
