package outbound

import (
	"context"
	"net/netip"
	"syscall"
)

// control sees the address that is really dialled, after everything that could
// have changed it, and checks it again.
func (c *Client) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return refused("%q is no address", address)
	}
	return c.policy.checkAddress(at.Addr())
}
