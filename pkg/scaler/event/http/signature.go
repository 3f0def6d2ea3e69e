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
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

const (
	// maxTimestampSkew is how far a timestamp may be off: a request that was overheard is of no use later. The event's id and expiry
	// see to it that it is of none before.
	maxTimestampSkew = 5 * time.Minute
	// minSecretBytes and maxSecret bytes: a shorter one could be guessed.
	minSecretBytes, maxSecretBytes = 16, 4096
	signaturePrefix                = "sha256="
	// secretLogInterval is the time between two lines about secrets.
	secretLogInterval = 30 * time.Second
)

// Sign returns the values of TimestampHeader and SignatureHeader for a body that is sent now.
func Sign(secret, body []byte, now time.Time) (timestamp, signature string) {
	timestamp = strconv.FormatInt(now.Unix(), 10)
	return timestamp, signaturePrefix + hex.EncodeToString(computeSignature(secret, timestamp, body))
}

func computeSignature(secret []byte, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(timestamp))
	h.Write([]byte{'.'})
	h.Write(body)
	return h.Sum(nil)
}

// parseSignatureHeaders reads the headers, before the body is worth reading.
func parseSignatureHeaders(h http.Header, now time.Time) (timestamp string, mac []byte, err error) {
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

// matchesAnySecret tells whether one of the secrets made the signature. It takes as long for each, whichever it is.
func matchesAnySecret(secrets [][]byte, timestamp string, body, mac []byte) bool {
	ok := false
	for _, s := range secrets {
		ok = hmac.Equal(computeSignature(s, timestamp, body), mac) || ok
	}
	return ok
}

// readSecrets are those of the files that can be read now; an error if there is none.
func (r *Receiver) readSecrets(ctx context.Context) ([][]byte, error) {
	var all [][]byte
	var problems []error
	for _, path := range r.cfg.SecretFiles {
		s, err := readSecretFile(path)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, s)
	}
	if len(all) > 0 {
		return all, nil
	}
	err := errors.Join(problems...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.secretErrorLoggedAt) >= secretLogInterval { // anybody can make this happen as often as they like
		r.secretErrorLoggedAt = now
		klog.FromContext(ctx).Error(err, "events over HTTP refused: no secret")
	}
	return nil, err
}

// readSecretFile is what a file holds, without the line ends that editors leave.
func readSecretFile(path string) ([]byte, error) {
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
	if len(data) < minSecretBytes || len(data) > maxSecretBytes {
		return nil, fmt.Errorf("read secret: %s has %d bytes; from %d to %d are taken", path, len(data), minSecretBytes, maxSecretBytes)
	}
	return data, nil
}
