package httpevent

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

// This file signs and verifies requests with a shared secret.

const (
	// maxTimestampSkew bounds the error of a timestamp: an intercepted request cannot be replayed later. The event's id and expiry
	// prevent a replay before.
	maxTimestampSkew = 5 * time.Minute
	// minSecretBytes and maxSecretBytes bound a secret; a shorter secret could be guessed.
	minSecretBytes, maxSecretBytes = 16, 4096
	signaturePrefix                = "sha256="
	// fileLogInterval is the time between two log lines about unreadable secrets, or certificates.
	fileLogInterval = 30 * time.Second
)

const wrongSignatureMessage = "wrong signature: it is the HMAC-SHA256 of timestamp, dot and body, or, with ce- headers, of timestamp, headers and body"

// Sign returns the values of TimestampHeader and SignatureHeader for a body sent at now. For a CloudEvent in binary mode it signs the
// ce- headers too.
func Sign(secret []byte, header http.Header, body []byte, now time.Time) (timestamp, signature string) {
	timestamp = strconv.FormatInt(now.Unix(), 10)
	return timestamp, signaturePrefix + hex.EncodeToString(computeEventSignature(secret, signedEventText(timestamp, header, body)))
}

// cloudEventHeaders returns the headers with the attributes of a CloudEvent, under their lower-case names.
func cloudEventHeaders(header http.Header) map[string]string {
	all := map[string]string{}
	for name, values := range header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "ce-") {
			all[lower] = strings.Join(values, ",")
		}
	}
	return all
}

// signedEventText returns the text that a sender signs. The byte after the timestamp tells the two forms apart: a part of a body can
// never become a header.
func signedEventText(timestamp string, header http.Header, body []byte) []byte {
	text := []byte(timestamp)
	headers := cloudEventHeaders(header)
	if len(headers) == 0 {
		return append(append(text, '.'), body...)
	}
	text = append(text, '\n')
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		text = append(text, name+":"+headers[name]+"\n"...)
	}
	return append(append(text, '\n'), body...)
}

func computeEventSignature(secret, text []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(text)
	return h.Sum(nil)
}

// parseEventSignature parses and validates the headers. It comes before the body is read.
func parseEventSignature(h http.Header, now time.Time) (timestamp string, mac []byte, err error) {
	for _, name := range []string{TimestampHeader, SignatureHeader} {
		if len(h.Values(name)) > 1 { // a proxy on the way may check another one
			return "", nil, errors.New(name + ": must come once")
		}
	}
	timestamp = h.Get(TimestampHeader)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || len(timestamp) > 12 {
		return "", nil, errors.New(TimestampHeader + ": must be the time in seconds since 1970")
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > maxTimestampSkew || off < -maxTimestampSkew {
		return "", nil, fmt.Errorf("%s: more than %s off", TimestampHeader, maxTimestampSkew)
	}
	text, ok := strings.CutPrefix(h.Get(SignatureHeader), signaturePrefix)
	mac, err = hex.DecodeString(text)
	if !ok || err != nil || len(mac) != sha256.Size {
		return "", nil, errors.New(SignatureHeader + ": must be " + signaturePrefix + " and 64 hexadecimal digits")
	}
	return timestamp, mac, nil
}

// matchesEventSecret reports whether the signature was made with any of the secrets. Its duration does not depend on which.
func matchesEventSecret(secrets [][]byte, text, mac []byte) bool {
	ok := false
	for _, s := range secrets {
		ok = hmac.Equal(computeEventSignature(s, text), mac) || ok
	}
	return ok
}

// readEventSecrets returns the secrets in all readable files, and an error if no file is readable.
func (r *Receiver) readEventSecrets(ctx context.Context) ([][]byte, error) {
	var secrets [][]byte
	var problems []error
	for _, path := range r.cfg.SecretFiles {
		s, err := readEventSecretFile(path)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		secrets = append(secrets, s)
	}
	if len(secrets) > 0 {
		return secrets, nil
	}
	err := errors.Join(problems...)
	if r.fileErrors.Allow("secret", time.Now()) { // throttled, because any client can trigger it
		klog.FromContext(ctx).Error(err, "Events over HTTP rejected: no secret")
	}
	return nil, err
}

// readEventSecretFile returns the content of a file without trailing line ends, which editors add.
func readEventSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	data = bytes.TrimRight(data, "\r\n")
	// To HMAC a key of zeros equals an empty secret, and a file of blanks was not filled yet.
	if size := len(bytes.Trim(data, "\x00 \t\r\n")); size < minSecretBytes || len(data) > maxSecretBytes {
		return nil, fmt.Errorf("read secret: %s has %d bytes without blanks and zeros around them; it must have %d to %d", path, size, minSecretBytes, maxSecretBytes)
	}
	return data, nil
}
