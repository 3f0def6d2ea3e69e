package netcause

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err          error
		connect, tls string
	}{
		"refused":     {syscall.ECONNREFUSED, "connection refused", ""},
		"no host":     {syscall.EHOSTUNREACH, "no route to host", ""},
		"no network":  {syscall.ENETUNREACH, "no route to host", ""},
		"timed out":   {syscall.ETIMEDOUT, "connection timed out", ""},
		"reset":       {syscall.ECONNRESET, "connection reset", ""},
		"broken pipe": {syscall.EPIPE, "connection reset", ""},
		"end":         {io.EOF, "connection closed", ""},
		"closed":      {net.ErrClosed, "connection closed", ""},
		"DNS":         {&net.DNSError{Name: "prometheus", Err: "timeout"}, "no such host prometheus", ""},
		"other name":  {x509.HostnameError{Host: "prometheus"}, "", "TLS: certificate is for another name than prometheus"},
		"untrusted":   {&tls.CertificateVerificationError{Err: errors.New("x")}, "", "TLS: certificate not trusted"},
		"expired":     {&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, "", "TLS: certificate has expired, or is not valid yet"},
		"no TLS":      {tls.RecordHeaderError{Msg: "x"}, "", "TLS: the server speaks plain HTTP"},
		"plain HTTP":  {errors.New("http: server gave HTTP response to HTTPS client"), "", "TLS: the server speaks plain HTTP"},
		"alert":       {&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, "", "TLS: handshake refused: bad certificate"},
		"other":       {errors.New("other"), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := fmt.Errorf("wrapped: %w", tc.err)
			text, host := DescribeConnect(err)
			if host != "" {
				text += " " + host
			}
			if text != tc.connect {
				t.Errorf("connection: %q, want %q", text, tc.connect)
			}
			if text, detail := DescribeTLS(err, "server"); text+detail != tc.tls {
				t.Errorf("handshake: %q, want %q", text+detail, tc.tls)
			}
		})
	}
}

func TestInnermost(t *testing.T) {
	t.Parallel()
	if got := Innermost(fmt.Errorf("a: %w", fmt.Errorf("b: %w", io.EOF))); got != io.EOF { //nolint:errorlint // the chain itself is tested
		t.Errorf("%v, want the last of the chain", got)
	}
}
