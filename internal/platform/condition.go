package platform

// Condition is one of Absent, Present, Equal, Less, AtLeast, All, Any and Not.
// The list is closed: each home implements every one of them, and no other. A
// comparison with an absent attribute, or with one of another type, is false and
// no error.
type Condition interface{ condition() }

type (
	// Absent holds if the row has no such attribute. With KeyAttribute: if there
	// is no such row.
	Absent struct{ Attribute string }
	// Present is the opposite of Absent.
	Present struct{ Attribute string }
	// Equal compares type and value; numbers by value.
	Equal struct {
		Attribute string
		Value     Value
	}
	// Less holds if the attribute is before Value: numbers by value, texts and
	// bytes by their bytes.
	Less struct {
		Attribute string
		Value     Value
	}
	// AtLeast holds if the attribute is Value or after it.
	AtLeast struct {
		Attribute string
		Value     Value
	}
	// All holds if each of its conditions does, and if it has none.
	All []Condition
	// Any holds if one of its conditions does.
	Any []Condition
	// Not holds if its condition does not.
	Not struct{ Of Condition }
)

func (Absent) condition()  {}
func (Present) condition() {}
func (Equal) condition()   {}
func (Less) condition()    {}
func (AtLeast) condition() {}
func (All) condition()     {}
func (Any) condition()     {}
func (Not) condition()     {}

// NoRow holds if there is no such row: put if absent.
var NoRow Condition = Absent{KeyAttribute}

// RowIs holds if there is such a row.
var RowIs Condition = Present{KeyAttribute}
