// Package hook posts JSON to a URL that is a secret, so that no part of it stands in an error.
package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// DefaultTimeout bounds a post where the client has no bound of its own: whoever takes hooks queues them.
	DefaultTimeout = 5 * time.Second
	// maxURLBytes is many times the longest that services give out.
	maxURLBytes = 4 << 10
	// maxResponseBytes is what is read of an answer, so that the connection can be used again.
	maxResponseBytes = 4 << 10
)

// URLFromFile returns the URL that stands in a file, read whenever it is asked for: Secrets rotate.
func URLFromFile(path string) func() (string, error) {
	return func() (string, error) {
		f, err := os.Open(path) //nolint:gosec // whoever may write the configuration chooses the file
		if err != nil {
			return "", fmt.Errorf("read the URL: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxURLBytes+1))
		switch {
		case err != nil:
			return "", fmt.Errorf("read the URL: %w", err)
		case len(data) > maxURLBytes:
			return "", fmt.Errorf("read the URL: %s is longer than %d bytes", path, maxURLBytes)
		}
		return strings.TrimSpace(string(data)), nil
	}
}

// NewClient is a copy of c, nil for one with Timeout, that follows no redirect: it would take the message, and with it the secret,
// to another place.
func NewClient(c *http.Client) *http.Client {
	if c == nil {
		c = &http.Client{Timeout: DefaultTimeout}
	}
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// Post sends a JSON body with a client that Client returned, and returns nil when it was answered with a status of 2xx. All
// other errors than those of the function address are of type *Error.
func Post(ctx context.Context, client *http.Client, address func() (string, error), header http.Header, body []byte) error {
	text, err := address()
	if err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return &Error{message: "what is given as the URL is none that begins with http:// or https://"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, text, bytes.NewReader(body))
	if err != nil {
		return &Error{message: "what is given as the URL cannot be asked"}
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req) //nolint:gosec // the URL is whatever the configuration's author wrote
	if err != nil {
		return newTransportError(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes)) // the status has told already
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return newAnswerError(resp, u, answer, time.Now())
}
