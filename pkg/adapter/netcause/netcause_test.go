package netcause

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"
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

func TestClip(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"abc": "abc", "abcd": "abc…", "abü": "ab…", "": "",
		"a\x1b[2J": "a…", // no half of a quoted character
	} {
		if got := Clip(text, 3); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"a\x1b[2J\x1b[31mb":   `a\x1b[2J\x1b[31mb`, // a terminal clears its screen and writes in red
		"a\nWARNING\r\tb":     `a\nWARNING\r\tb`,
		"a\x00b\x7fc":         `a\x00b\x7fc`,
		"a\u202eb\u2066c":     `a\u202eb\u2066c`, // writes from right to left
		"a\ufeff\u200bb":      `a\ufeff\u200bb`,
		"a\u2028b\u0085c":     `a\u2028b\u0085c`,
		"a\x9b31m\xffb":       `a\x9b31m\xffb`, // 0x9b is an escape of eight bits
		"größe 42 µs \"x\" 日": "größe 42 µs \"x\" 日",
	} {
		if got := Clip(text, 200); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzClip checks that nothing that Clip returns moves a cursor or ends a line, and that its length is bounded.
func FuzzClip(f *testing.F) {
	for _, seed := range []string{"", "abc", "a\x1b[2J", "\u202e", "\xff\xfe", strings.Repeat("é\n", 100)} {
		f.Add(seed, 20)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = min(max(limit, 0), 1000)
		got := Clip(text, limit)
		if len(got) > limit+len("…") || !utf8.ValidString(got) {
			t.Fatalf("%q: %q, longer than %d bytes or not UTF-8", text, got, limit)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q: %q", text, got)
		}
	})
}
