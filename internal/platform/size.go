package platform

// What a list or a map costs beside its contents, and each element of it.
//
// Source: DynamoDB Developer Guide, item sizes and formats.
const (
	containerSize = 3
	elementSize   = 1
)

// RowSize is the size of a row as DynamoDB counts it, in bytes.
func RowSize(key RowKey, item Item) int {
	size := len(KeyAttribute) + len(key.pk) + len(SortAttribute) + len(key.sk)
	for name, value := range item {
		size += len(name) + valueSize(value)
	}
	return size
}

func valueSize(value Value) int {
	switch v := value.(type) {
	case Text:
		return len(v)
	case Bytes:
		return len(v)
	case Number:
		return numberSize(v)
	case List:
		size := containerSize
		for _, each := range v {
			size += elementSize + valueSize(each)
		}
		return size
	case Map:
		size := containerSize
		for name, each := range v {
			size += elementSize + len(name) + valueSize(each)
		}
		return size
	}
	return 1
}

// numberSize is one byte for two digits, and one more; a sign counts as a digit.
func numberSize(n Number) int { return (len(n)+1)/2 + 1 }
