package language

import "strings"

// Nearest is the one of the words that was probably meant, or "": by
// Damerau-Levenshtein at a distance of at most 1 for words of up to 4 letters, else
// 2. Of several at one distance the first is taken.
func Nearest(word string, words []string) string {
	best, limit := "", 2
	switch letters := len([]rune(word)); {
	case letters < 2:
		limit = 0 // every letter is near to every other
	case letters <= 4:
		limit = 1
	}
	for _, w := range words {
		if w == word {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(w), limit); d <= limit {
			best, limit = w, d-1
		}
	}
	return best
}

// distance is the number of letters to insert, remove, change or swap with their
// neighbour (the restricted form: no part is edited twice), or limit+1 if it is more.
func distance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if diff := len(x) - len(y); diff > limit || -diff > limit {
		return limit + 1
	}
	previous, current, before := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range current {
		current[j] = j
	}
	for i := 1; i <= len(x); i++ {
		before, previous, current = previous, current, before
		current[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
	}
	return min(current[len(y)], limit+1)
}

// suggest is the help for a word that is none of words: the nearest, and the full
// list if it is short. what is in front of the list where nothing is near.
func suggest(word string, words []string, what string) string {
	if nearest := Nearest(word, words); nearest != "" {
		return meant(nearest)
	}
	return listed(words, what)
}

// listed is the full list of words, "" if it is long or empty.
func listed(words []string, what string) string {
	if len(words) == 0 || len(words) > 12 {
		return ""
	}
	return what + ": " + strings.Join(words, ", ")
}
