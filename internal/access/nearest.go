package access

import "strings"

// Nearest is the name that was probably meant: the one with the fewest letters to
// change, add or drop, at most a third of them; "" if none is near.
func Nearest(name string, names []string) string {
	best, at := "", len(name)/3+1
	for _, candidate := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d <= at && (best == "" || d < at) {
			best, at = candidate, d
		}
	}
	return best
}

// distance counts letters to change, add or drop (Levenshtein).
func distance(a, b string) int {
	if len(a) > maxNearest || len(b) > maxNearest {
		return maxNearest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

const maxNearest = 100 // bytes: longer names are compared with nothing
