// Package netcause words the causes of failed HTTP requests for the status of an HPA: without addresses or secrets, and with the
// text of other programs made harmless.
package netcause

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// DescribeConnect returns the cause of a missing or broken connection; empty if err has another cause. For an unknown host, host
// is the name that did not resolve.
func DescribeConnect(err error) (text, host string) {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "no such host", dns.Name
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused", ""
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to host", ""
	case errors.Is(err, syscall.ETIMEDOUT):
		return "connection timed out", ""
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset", ""
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed):
		return "connection closed", ""
	}
	return "", ""
}

// DescribeTLS returns the cause of a failed handshake with peer ("server"); empty if err has another cause. A caller may append
// detail, which names the host that the certificate lacks, or the TLS alert.
func DescribeTLS(err error, peer string) (text, detail string) {
	var host x509.HostnameError
	var verification *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case errors.As(err, &host):
		return "TLS: certificate is for another name", " than " + host.Host
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "TLS: certificate has expired, or is not valid yet", ""
	case errors.As(err, &verification):
		return "TLS: certificate not trusted", ""
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return "TLS: the " + peer + " speaks plain HTTP", ""
	case errors.As(err, &alert) && alert.Op == "remote error": // as crypto/tls calls an alert of the peer
		return "TLS: handshake refused", ": " + strings.TrimPrefix(alert.Err.Error(), "tls: ")
	}
	return "", ""
}

// Innermost returns the last error of err's chain: the outer ones add addresses.
func Innermost(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}
