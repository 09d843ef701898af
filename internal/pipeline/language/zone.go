package language

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// zoneList are the names of the IANA time zone database (version in its first
// line), one a line. Only the names: validate loads no zone.
//
//go:embed zones.txt
var zoneList string

// zones are the names of the zones, read when the first is asked for.
var zones = sync.OnceValue(func() []string {
	_, names, _ := strings.Cut(zoneList, "\n")
	return strings.Fields(names)
})

func checkZone(c *checker, v *value, _ place) {
	if slices.Contains(zones(), v.text) {
		return
	}
	help := `a name such as "Europe/Paris", or "UTC"`
	if nearest := nearestZone(v.text); nearest != "" {
		help = fmt.Sprintf("did you mean %q?", nearest)
	}
	c.errorAt(v, "bad-timezone", fmt.Sprintf("there is no time zone %q", v.text), help)
}

// nearestZone finds the zone of a city, in any spelling, or the nearest name.
func nearestZone(text string) string {
	city := strings.ReplaceAll(text, " ", "_")
	for _, zone := range zones() {
		last := zone[strings.LastIndexByte(zone, '/')+1:]
		if strings.EqualFold(zone, city) || strings.EqualFold(last, city) {
			return zone
		}
	}
	return Nearest(city, zones())
}
