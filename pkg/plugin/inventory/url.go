// Manifests behind https URLs.

package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// urlTimeout bounds the read of a URL.
	urlTimeout = 30 * time.Second
	// maxURLBytes bounds the answer: etcd holds no object above 1.5 MiB, and a file has some.
	maxURLBytes = 16 << 20
)

// isManifestURL reports whether a path of the command line is a URL, as kubectl takes it for one.
func isManifestURL(path string) bool {
	u, err := url.Parse(path)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// addManifestURL adds the manifests that a URL serves.
func (i *Inventory) addManifestURL(ctx context.Context, path string, opts FileOptions) error {
	u, err := url.Parse(path)
	if err != nil {
		return err
	}
	name := u.Redacted()
	if u.Scheme != "https" {
		return fmt.Errorf("%s is read over https alone: anybody on the way can change what http serves", name)
	}
	data, err := readManifestURL(ctx, u, opts.Client)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return i.addManifestStream(name, bytes.NewReader(data), opts.Namespace)
}

// readManifestURL returns the answer to a GET. It follows redirects to https alone.
func readManifestURL(ctx context.Context, u *url.URL, client *http.Client) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, urlTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	if client == nil {
		client = http.DefaultClient
	}
	secure := *client
	secure.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if r.URL.Scheme != "https" || len(via) > 9 {
			return fmt.Errorf("it redirects to %s", r.URL.Redacted())
		}
		return nil
	}
	response, err := secure.Do(request)
	if err != nil {
		var failed *url.Error // repeats the URL
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %s", response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxURLBytes+1))
	if len(data) > maxURLBytes {
		return nil, fmt.Errorf("the answer is above %d MiB", maxURLBytes>>20)
	}
	return data, err
}
