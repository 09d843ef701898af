package language

import (
	"slices"
	"testing"
	"time"
	_ "time/tzdata" // the zones of a machine without its own
)

// The names of zones.txt are zones, and none that people use is missing.
func TestZones(t *testing.T) {
	t.Parallel()
	for _, zone := range zones() {
		if _, err := time.LoadLocation(zone); err != nil {
			t.Error(err)
		}
	}
	for _, zone := range []string{"UTC", "Europe/Paris", "America/Sao_Paulo", "Asia/Kolkata"} {
		if !slices.Contains(zones(), zone) {
			t.Errorf("%s is missing", zone)
		}
	}
	for text, want := range map[string]string{"Paris": "Europe/Paris", "new york": "America/New_York", "Europe/Pariss": "Europe/Paris", "europe/berlin": "Europe/Berlin", "Moon/Base": ""} {
		if got := nearestZone(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestCron(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0 3 * * *": "", "*/5 * * * *": "", "0,30 1-5/2 1 jan,DEC mon-FRI": "", "0 0 * * 7": "",
		"61 3 * * *":  "minute 61 is not in 0-59",
		"0 3 * *":     "there are 4 fields, not five",
		"0 3 * 13 *":  "month 13 is not in 1-12",
		"0 3 * * foo": `weekday "foo" is not a number`,
		"5-1 3 * * *": "minute 5-1 goes backwards",
		"*/0 3 * * *": `step "0" of the minute is no number from 1 to 59`,
		"@daily":      "@daily is not known here",
	} {
		got := ""
		if _, err := parseCron(text); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]int{"* * * * *": 1, "*/7 * * * *": 4, "0 0 * * *": 24 * 60, "58,2 * * * *": 4, "59 23 * * *": 24 * 60, "0,59 0,23 * * *": 1} {
		sets, err := parseCron(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := closest(sets[0], sets[1]); got != want {
			t.Errorf("%q: %d minutes, want %d", text, got, want)
		}
	}
}
