package outbound

import (
	"fmt"
	"net/netip"
)

// blocked are the ranges that are not the public internet.
//
// ::/96 holds ::, ::1 and the old IPv4-compatible addresses.
//
// Source: IANA special-purpose address registries for IPv4 and IPv6.
var blocked = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32",
	"2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)

// metadata are addresses at which a cloud hands out credentials: no option opens them.
var metadata = prefixes("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32")

var loopback = prefixes("127.0.0.0/8", "::1/128")

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

func in(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// checkAddress refuses an address that nobody outside may make us call.
func (p Policy) checkAddress(a netip.Addr) error {
	if a.Zone() != "" {
		return refused("the address %s names a zone of this machine", a)
	}
	a = a.Unmap() // ::ffff:10.0.0.1 is 10.0.0.1
	switch {
	case in(metadata, a):
		return refused("%s is an address of the cloud's own services", a)
	case p.Loopback && in(loopback, a):
		return nil
	case in(p.Private, a) && !in(loopback, a):
		return nil
	case in(blocked, a) || !a.IsValid():
		return refused("%s is no public address", a)
	}
	return nil
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
