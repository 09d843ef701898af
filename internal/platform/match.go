package platform

import (
	"bytes"
	"cmp"
	"fmt"
)

// Match says whether the condition holds for a row. item is nil if there is no
// row; a nil condition always holds. It is the meaning of conditions in every
// home that evaluates them itself.
func Match(c Condition, item Item) bool {
	switch c := c.(type) {
	case nil:
		return true
	case Absent:
		return !present(item, c.Attribute)
	case Present:
		return present(item, c.Attribute)
	case Equal:
		return item[c.Attribute] != nil && equalValues(item[c.Attribute], c.Value)
	case Less:
		order, ok := compareValues(item[c.Attribute], c.Value)
		return ok && order < 0
	case AtLeast:
		order, ok := compareValues(item[c.Attribute], c.Value)
		return ok && order >= 0
	case All:
		for _, each := range c {
			if !Match(each, item) {
				return false
			}
		}
		return true
	case Any:
		for _, each := range c {
			if Match(each, item) {
				return true
			}
		}
		return false
	case Not:
		return !Match(c.Of, item)
	}
	return false
}

func present(item Item, attribute string) bool {
	if attribute == KeyAttribute {
		return item != nil
	}
	return item[attribute] != nil
}

// compareValues orders two values of one type that has an order.
func compareValues(a, b Value) (order int, ok bool) {
	switch a := a.(type) {
	case Number:
		if b, ok := b.(Number); ok {
			return compareNumbers(a, b), true
		}
	case Text:
		if b, ok := b.(Text); ok {
			return cmp.Compare(a, b), true
		}
	case Bytes:
		if b, ok := b.(Bytes); ok {
			return bytes.Compare(a, b), true
		}
	}
	return 0, false
}

// equalValues compares type and value, numbers by value, at any depth.
func equalValues(a, b Value) bool {
	switch a := a.(type) {
	case Bool:
		b, ok := b.(Bool)
		return ok && a == b
	case List:
		b, ok := b.(List)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equalValues(a[i], b[i]) {
				return false
			}
		}
		return true
	case Map:
		b, ok := b.(Map)
		return ok && equalMaps(a, b)
	}
	order, ok := compareValues(a, b)
	return ok && order == 0
}

func equalMaps(a, b map[string]Value) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		if other, ok := b[name]; !ok || !equalValues(value, other) {
			return false
		}
	}
	return true
}

// SameRow says whether two rows are equal; nil, no row, equals only itself. A
// write between equal rows is no change.
func SameRow(a, b Item) bool { return (a == nil) == (b == nil) && equalMaps(a, b) }

// CheckCondition refuses a condition that no home can evaluate: an element of no
// known kind, an empty attribute name, a value that cannot be stored, an order
// among values that have none, and a comparison with the row itself (ErrInvalid).
func CheckCondition(c Condition) error {
	switch c := c.(type) {
	case nil:
		return nil
	case Absent:
		return checkName(c.Attribute)
	case Present:
		return checkName(c.Attribute)
	case Equal:
		return checkOperand(c.Attribute, c.Value)
	case Less:
		return checkOrdered(c.Attribute, c.Value)
	case AtLeast:
		return checkOrdered(c.Attribute, c.Value)
	case All:
		return checkConditions(c)
	case Any:
		return checkConditions(c)
	case Not:
		return checkConditions([]Condition{c.Of})
	}
	return fmt.Errorf("%w: %T is no condition", ErrInvalid, c)
}

func checkConditions(conditions []Condition) error {
	for _, c := range conditions {
		if c == nil {
			return fmt.Errorf("%w: an empty condition inside All, Any or Not", ErrInvalid)
		}
		if err := CheckCondition(c); err != nil {
			return err
		}
	}
	return nil
}

func checkOperand(attribute string, operand Value) error {
	if err := checkName(attribute); err != nil {
		return err
	}
	if attribute == KeyAttribute {
		return fmt.Errorf("%w: %s stands for the row: it is absent or present, and compares with nothing", ErrInvalid, KeyAttribute)
	}
	_, err := keep(operand, 1)
	return err
}

func checkOrdered(attribute string, operand Value) error {
	switch operand.(type) {
	case Text, Number, Bytes:
		return checkOperand(attribute, operand)
	}
	return fmt.Errorf("%w: a %T has no order", ErrInvalid, operand)
}
