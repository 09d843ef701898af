package language

// types is a set of the types of expressions.
type types uint8

const (
	ofString types = 1 << iota
	ofInt
	ofBool
	ofList
)
