package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
)

// Explain says in one phrase why a call failed, in words that tell nothing about a
// network that the person may not know.
func Explain(err error) string {
	var (
		record  tls.RecordHeaderError
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		name    *net.DNSError
		timeout net.Error
		op      *net.OpError
	)
	switch {
	case errors.Is(err, ErrRefused):
		return "not called: " + err.Error()
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record), errors.As(err, &verify), errors.As(err, &unknown):
		return "TLS: its certificate or protocol is not accepted"
	case errors.As(err, &name):
		return "its name has no address"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.As(err, &op):
		return "the connection was refused"
	}
	return "it did not answer as it should"
}
