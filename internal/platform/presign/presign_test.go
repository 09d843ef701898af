package presign

import (
	"bytes"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
)

// FuzzMACInput is T43: different grants never give the same bytes to sign, wherever
// the borders between their fields lie.
func FuzzMACInput(f *testing.F) {
	f.Add("PUT", "acme/log/a", int64(1), "ab", int64(12), "PUT", "acme/log/a", int64(11), "ab", int64(2))
	f.Add("GET", "acme/a", int64(0), "", int64(1), "GETacme", "/a", int64(0), "", int64(1))
	f.Fuzz(func(t *testing.T, m1, k1 string, n1 int64, s1 string, e1 int64, m2, k2 string, n2 int64, s2 string, e2 int64) {
		one := platform.Grant{Method: m1, Key: platform.StoredBlobKey(k1), Size: n1, SHA256: s1}
		two := platform.Grant{Method: m2, Key: platform.StoredBlobKey(k2), Size: n2, SHA256: s2}
		same := one == two && e1 == e2
		if equal := bytes.Equal(macInput(one, e1), macInput(two, e2)); equal != same {
			t.Errorf("%+v until %d, %+v until %d: same grant %v, same bytes %v", one, e1, two, e2, same, equal)
		}
		if !bytes.Contains(macInput(one, e1), []byte(purpose)) {
			t.Error("no label of the purpose")
		}
	})
}
