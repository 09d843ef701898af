package language

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// minEvery is the shortest time between two ticks of a schedule, in minutes.
const minEvery = 5

const cronHelp = "five fields: minute hour day month weekday"

// cronField is one field of a cron expression.
type cronField struct {
	name        string
	least, most int
	words       []string // names from least on
}

var cronFields = []cronField{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"weekday", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// parseCron reads the five fields of a cron expression: the values that each allows.
func parseCron(text string) ([5][]int, error) {
	var sets [5][]int
	parts := strings.Fields(text)
	if strings.HasPrefix(text, "@") {
		return sets, fmt.Errorf("%s is not known here", parts[0])
	}
	if len(parts) != len(cronFields) {
		return sets, fmt.Errorf("there are %d fields, not five", len(parts))
	}
	for i, field := range cronFields {
		values, err := field.parse(parts[i])
		if err != nil {
			return sets, err
		}
		sets[i] = values
	}
	return sets, nil
}

// parse reads a list of numbers, ranges and steps.
func (f cronField) parse(text string) ([]int, error) {
	var values []int
	for item := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(item, "/")
		step := 1
		if stepped {
			n, err := strconv.Atoi(stepText)
			if err != nil || n < 1 || n > f.most {
				return nil, fmt.Errorf("step %q of the %s is no number from 1 to %d", stepText, f.name, f.most)
			}
			step = n
		}
		first, last := f.least, f.most
		if span != "*" {
			from, to, ranged := strings.Cut(span, "-")
			var err error
			if first, err = f.number(from); err != nil {
				return nil, err
			}
			switch {
			case ranged:
				if last, err = f.number(to); err != nil {
					return nil, err
				}
			case !stepped:
				last = first
			}
			if last < first {
				return nil, fmt.Errorf("%s %s goes backwards", f.name, span)
			}
		}
		for v := first; v <= last; v += step {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return slices.Compact(values), nil
}

func (f cronField) number(text string) (int, error) {
	if i := slices.Index(f.words, strings.ToLower(text)); i >= 0 {
		return f.least + i, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || !allDigits(text) {
		return 0, fmt.Errorf("%s %q is not a number", f.name, text)
	}
	if n < f.least || n > f.most {
		return 0, fmt.Errorf("%s %d is not in %d-%d", f.name, n, f.least, f.most)
	}
	return n, nil
}

// closest is the least number of minutes between two ticks on one day.
func closest(minutes, hours []int) int {
	least := 24 * 60
	last := -1
	for _, h := range hours {
		for _, m := range minutes {
			at := h*60 + m
			if last >= 0 {
				least = min(least, at-last)
			}
			last = at
		}
	}
	if over := hours[0]*60 + minutes[0] + 24*60 - last; over > 0 {
		least = min(least, over)
	}
	return least
}

func checkCron(c *checker, v *value, _ place) {
	sets, err := parseCron(v.text)
	if err != nil {
		c.errorAt(v, "bad-cron", err.Error(), cronHelp)
		return
	}
	if neverTicks(sets, v.text) {
		c.errorAt(v, "bad-cron", "no month that it names has that day", cronHelp)
		return
	}
	if every := closest(sets[0], sets[1]); every < minEvery {
		c.errorAt(v, "bad-cron", fmt.Sprintf("two ticks of this schedule are %s apart; at least %d minutes", minutes(every), minEvery), `"*/5 * * * *" is every five minutes`)
	}
}

// longestMonth are the most days that each month can have.
var longestMonth = [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// neverTicks tells whether a schedule names days that no month of it has, such as
// the 30th of February. A weekday that is named too makes up for it: either will do.
func neverTicks(sets [5][]int, text string) bool {
	if strings.Fields(text)[4] != "*" {
		return false
	}
	return !slices.ContainsFunc(sets[3], func(month int) bool { return sets[2][0] <= longestMonth[month-1] })
}

func minutes(n int) string {
	if n == 1 {
		return "1 minute"
	}
	return strconv.Itoa(n) + " minutes"
}
