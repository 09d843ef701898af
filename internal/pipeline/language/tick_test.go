package language

import (
	"testing"
	"time"
)

func TestNextTick(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, cron, zone, after, want string }{
		{"the next minute of many", "*/5 * * * *", "UTC", "2026-03-01T10:02:00Z", "2026-03-01T10:05:00Z"},
		{"never the same instant", "*/5 * * * *", "UTC", "2026-03-01T10:05:00Z", "2026-03-01T10:10:00Z"},
		{"over midnight and new year", "0 0 * * *", "UTC", "2026-12-31T00:00:01Z", "2027-01-01T00:00:00Z"},
		{"a zone in winter", "30 6 * * *", "Europe/Paris", "2026-01-10T06:00:00Z", "2026-01-11T05:30:00Z"},
		{"a zone in summer", "30 6 * * *", "Europe/Paris", "2026-07-10T06:00:00Z", "2026-07-11T04:30:00Z"},
		{"workdays", "0 3 * * 1-5", "UTC", "2026-11-27T03:00:00Z", "2026-11-30T03:00:00Z"},
		{"sunday is 0", "0 3 * * 0", "UTC", "2026-11-28T04:00:00Z", "2026-11-29T03:00:00Z"},
		{"sunday is 7", "0 3 * * 7", "UTC", "2026-11-28T04:00:00Z", "2026-11-29T03:00:00Z"},
		{"day or weekday", "0 0 13 * fri", "UTC", "2026-11-07T00:00:00Z", "2026-11-13T00:00:00Z"},
		{"weekday or day", "0 0 12 * fri", "UTC", "2026-11-07T00:00:00Z", "2026-11-12T00:00:00Z"},
		{"the 31st skips months", "0 0 31 * *", "UTC", "2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"},
		{"the 29th of February", "0 0 29 2 *", "UTC", "2097-01-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"ScheduleInMissingHour", "30 2 * * *", "Europe/Paris", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"and the day after", "30 2 * * *", "Europe/Paris", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"many in the missing hour are one", "*/15 2 * * *", "America/New_York", "2026-03-08T06:59:00Z", "2026-03-08T07:00:00Z"},
		{"which is over then", "*/15 2 * * *", "America/New_York", "2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"},
		{"ScheduleInDoubledHour", "30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"once", "30 2 * * *", "Europe/Paris", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"many in the doubled hour, once", "0,30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-02T06:00:00Z"},
		{"half an hour is missing", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"},
		{"midnight is missing", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z"},
		{"a whole day is missing", "0 12 30 12 *", "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-30T10:00:00Z"},
	} {
		after, err := time.Parse(time.RFC3339, tt.after)
		if err != nil {
			t.Fatal(err)
		}
		got, err := NextTick(tt.cron, tt.zone, after)
		if err != nil || got.Format(time.RFC3339) != tt.want {
			t.Errorf("%s: %s in %s after %s is %s, want %s (%v)", tt.name, tt.cron, tt.zone, tt.after, got.Format(time.RFC3339), tt.want, err)
		}
	}
	if _, err := NextTick("0 0 * * *", "Mars/Olympus", time.Now()); err == nil {
		t.Error("a zone that is not there")
	}
}

// Ticks always go on, and each is what the clock of its zone shows, unless that was
// skipped.
func FuzzNextTick(f *testing.F) {
	f.Add("*/7 1-3 * * *", "Europe/Paris", int64(1774746000))
	f.Add("0 0 29 2 *", "America/Santiago", int64(0))
	f.Fuzz(func(t *testing.T, cron, zone string, seconds int64) {
		after := time.Unix(seconds%(1<<33), 0).UTC()
		sets, err := parseCron(cron)
		if err != nil || neverTicks(sets, cron) {
			return
		}
		got, err := NextTick(cron, zone, after)
		if err != nil {
			return
		}
		if !got.After(after) {
			t.Fatalf("%s in %s: %s is not after %s", cron, zone, got, after)
		}
		between := after.Add(got.Sub(after) / 2)
		if again, err := NextTick(cron, zone, between); err != nil || !again.Equal(got) {
			t.Fatalf("%s in %s: after %s comes %s, but after %s, before it, %s", cron, zone, after, got, between, again)
		}
	})
}
