// Package webhook posts JSON to a secret URL. Its errors contain no part of the URL.
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

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch"
)

const (
	// DefaultTimeout is the timeout of the default client. It is short, because receivers of webhooks queue them.
	DefaultTimeout = 5 * time.Second
	// maxURLBytes is many times the length of real webhook URLs.
	maxURLBytes = 4 << 10
	// maxResponseBytes bounds the part of a response to read, for the error and for reuse of the connection.
	maxResponseBytes = 4 << 10
)

// URLFromFile returns a function that reads the URL from a file. Each call reads the file again, because Secrets rotate.
func URLFromFile(path string) func() (string, error) {
	return func() (string, error) {
		f, err := os.Open(path) //nolint:gosec // the author of the configuration chooses the file
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

// NewClient returns a copy of c that follows no redirect: a redirect would send the message, and with it the secret, to another server. A
// nil c is a client with DefaultTimeout and connections of its own.
func NewClient(c *http.Client) *http.Client {
	if c == nil {
		c = &http.Client{Timeout: DefaultTimeout, Transport: newWebhookTransport()}
	}
	own := *c
	own.Transport = protocolswitch.Reject(c.Transport)
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// newWebhookTransport returns a transport that keeps no connection: messages are rare, and a replaced client leaves none behind.
func newWebhookTransport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone() // the standard library's default is a Transport
	transport.DisableKeepAlives = true
	transport.MaxResponseHeaderBytes = fieldlimit.MaxResponseHeaderBytes
	return transport
}

// Post sends a JSON body with a client from NewClient, and returns nil for a status of 2xx. Errors of readURL are returned as they are;
// all other errors are of type *Error.
func Post(ctx context.Context, client *http.Client, readURL func() (string, error), header http.Header, body []byte) error {
	text, err := readURL()
	if err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return &Error{message: "the URL does not begin with http:// or https://, or has no host"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, text, bytes.NewReader(body))
	if err != nil {
		return &Error{message: "the URL is not valid"}
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req) //nolint:gosec // the author of the configuration chooses the URL
	if err != nil {
		return newWebhookTransportError(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes)) // the status decides, with or without a body
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return newWebhookResponseError(resp, u, answer, time.Now())
}
