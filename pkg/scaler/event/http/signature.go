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
	// maxAge is how far a timestamp may be off: a request that was overheard is of no use later. The event's id and expiry
	// see to it that it is of none before.
	maxAge = 5 * time.Minute
	// minSecret and maxSecret bytes: a shorter one could be guessed.
	minSecret, maxSecret = 16, 4096
	prefix               = "sha256="
	// quietFor is the time between two lines about secrets.
	quietFor = 30 * time.Second
)

// Sign returns the values of TimestampHeader and SignatureHeader for a body that is sent now.
func Sign(secret, body []byte, now time.Time) (timestamp, signature string) {
	timestamp = strconv.FormatInt(now.Unix(), 10)
	return timestamp, prefix + hex.EncodeToString(sum(secret, timestamp, body))
}

func sum(secret []byte, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(timestamp))
	h.Write([]byte{'.'})
	h.Write(body)
	return h.Sum(nil)
}

// signature reads the headers, before the body is worth reading.
func signature(h http.Header, now time.Time) (timestamp string, mac []byte, err error) {
	timestamp = h.Get(TimestampHeader)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || len(timestamp) > 12 {
		return "", nil, errors.New(TimestampHeader + ": must be the time in seconds since 1970")
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > maxAge || off < -maxAge {
		return "", nil, fmt.Errorf("%s: more than %s off", TimestampHeader, maxAge)
	}
	text, ok := strings.CutPrefix(h.Get(SignatureHeader), prefix)
	mac, err = hex.DecodeString(text)
	if !ok || err != nil || len(mac) != sha256.Size {
		return "", nil, errors.New(SignatureHeader + ": must be " + prefix + " and 64 hexadecimal digits")
	}
	return timestamp, mac, nil
}

// signed tells whether one of the secrets made the signature. It takes as long for each, whichever it is.
func signed(secrets [][]byte, timestamp string, body, mac []byte) bool {
	ok := false
	for _, s := range secrets {
		ok = hmac.Equal(sum(s, timestamp, body), mac) || ok
	}
	return ok
}

// secrets are those of the files that can be read now; an error if there is none.
func (r *Receiver) secrets(ctx context.Context) ([][]byte, error) {
	var all [][]byte
	var problems []error
	for _, path := range r.cfg.SecretFiles {
		s, err := readSecret(path)
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
	if now := time.Now(); now.Sub(r.said) >= quietFor { // anybody can make this happen as often as they like
		r.said = now
		klog.FromContext(ctx).Error(err, "events over HTTP refused: no secret")
	}
	return nil, err
}

// readSecret is what a file holds, without the line ends that editors leave.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	data = bytes.TrimRight(data, "\r\n")
	if len(data) < minSecret || len(data) > maxSecret {
		return nil, fmt.Errorf("read secret: %s has %d bytes; from %d to %d are taken", path, len(data), minSecret, maxSecret)
	}
	return data, nil
}
