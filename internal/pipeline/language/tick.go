package language

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// tickYears is how far ahead a tick is looked for. The rarest that a schedule can
// name, a 29th of February, comes within eight years.
const tickYears = 8

// NextTick is the first tick of a schedule after an instant. Its times are those of
// the clocks in zone: one that a clock skips is at the first instant after the gap,
// one that a clock shows twice is the first of the two. Both are as Load has checked
// them; an error says that this machine does not know the zone.
func NextTick(cron, zone string, after time.Time) (time.Time, error) {
	sets, err := parseCron(cron)
	if err != nil {
		return time.Time{}, err
	}
	place, err := time.LoadLocation(zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("time zone %q: %w", zone, err)
	}
	fields := strings.Fields(cron)
	days := tickDays{months: sets[3], days: sets[2], weekdays: sets[4], anyDay: fields[2] == "*", anyWeekday: fields[4] == "*"}
	// Days are counted at noon UTC, where adding one never meets a change of clocks.
	local := after.In(place)
	day := time.Date(local.Year(), local.Month(), local.Day(), 12, 0, 0, 0, time.UTC)
	for end := day.AddDate(tickYears, 0, 1); day.Before(end); day = day.AddDate(0, 0, 1) {
		if !days.have(day) {
			continue
		}
		for _, hour := range sets[1] {
			for _, minute := range sets[0] {
				if tick := instant(day, hour, minute, place); tick.After(after) {
					return tick.UTC(), nil
				}
			}
		}
	}
	return time.Time{}, fmt.Errorf("schedule %q has no tick within %d years", cron, tickYears)
}

// tickDays are the days of a schedule. If it names days of the month and of the week
// too, either will do.
type tickDays struct {
	months, days, weekdays []int
	anyDay, anyWeekday     bool
}

func (d tickDays) have(day time.Time) bool {
	if !slices.Contains(d.months, int(day.Month())) {
		return false
	}
	inMonth := slices.Contains(d.days, day.Day())
	inWeek := slices.Contains(d.weekdays, int(day.Weekday())) || day.Weekday() == time.Sunday && slices.Contains(d.weekdays, 7)
	if d.anyDay || d.anyWeekday {
		return inMonth && inWeek
	}
	return inMonth || inWeek
}

// instant is when the clocks of a place show a time of a day: the first such moment,
// or, where they skip it, the moment of the change.
func instant(day time.Time, hour, minute int, place *time.Location) time.Time {
	shown := time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, time.UTC)
	t := time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, place)
	start, end := t.ZoneBounds()
	switch got := onClock(t); {
	case got.After(shown):
		return start
	case got.Before(shown):
		return end
	case start.IsZero():
		return t
	}
	_, before := start.Add(-time.Second).Zone()
	if first := shown.Add(-time.Duration(before) * time.Second).In(place); first.Before(t) && onClock(first).Equal(shown) {
		return first
	}
	return t
}

// onClock is what the clock of t's place shows, as a time of UTC.
func onClock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
