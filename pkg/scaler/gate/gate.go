package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// FieldManager is whose the patched fields are.
const FieldManager = "tachometer-scaler"

// Options are a Gate's; the zero value is right.
type Options struct {
	// Webhooks read URLs, by name; a name that is missing is the file that the URL stands in.
	Webhooks map[string]func() (string, error)
	// Client calls webhooks; nil: one that follows no redirects.
	Client *http.Client
	// Timeout is for each action; 0: 10s, far longer than a patch takes.
	Timeout time.Duration
}

// Gate does actions. It may be used concurrently.
type Gate struct {
	client dynamic.Interface
	mapper meta.RESTMapper
	http   *http.Client
	opts   Options
}

// New returns a gate.
func New(client dynamic.Interface, mapper meta.RESTMapper, opts Options) *Gate {
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.Client != nil {
		return &Gate{client: client, mapper: mapper, http: opts.Client, opts: opts}
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Gate{client: client, mapper: mapper, http: &http.Client{CheckRedirect: noRedirect}, opts: opts}
}

// Do does the actions in order, up to the first that cannot be done. Doing them again changes nothing.
func (g *Gate) Do(ctx context.Context, namespace string, actions []Action) error {
	for _, a := range actions {
		if err := g.one(ctx, namespace, a); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gate) one(ctx context.Context, namespace string, a Action) error {
	ctx, cancel := context.WithTimeout(ctx, g.opts.Timeout)
	defer cancel()
	if a.Patch != nil {
		return g.patch(ctx, namespace, a.Patch)
	}
	return g.call(ctx, a.Webhook)
}

func (g *Gate) patch(ctx context.Context, namespace string, p *Patch) error {
	if p.Namespace != "" {
		namespace = p.Namespace
	}
	gvk := schema.FromAPIVersionAndKind(p.APIVersion, p.Kind)
	m, err := g.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return fmt.Errorf("patch %s %s: find its resource: %w", p.Kind, p.Name, err)
	}
	var on dynamic.ResourceInterface = g.client.Resource(m.Resource)
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		on = g.client.Resource(m.Resource).Namespace(namespace)
	}
	if _, err = on.Patch(ctx, p.Name, types.MergePatchType, p.Merge, metav1.PatchOptions{FieldManager: FieldManager}); err != nil {
		return fmt.Errorf("patch %s %s in namespace %s: %w", p.Kind, p.Name, namespace, err)
	}
	return nil
}

// call posts to a webhook; its URL is a secret and stands in no error.
func (g *Gate) call(ctx context.Context, name string) error {
	read, ok := g.opts.Webhooks[name]
	if !ok {
		read = func() (string, error) {
			text, err := os.ReadFile(name) //nolint:gosec // the file is the configuration's to name
			return string(text), err
		}
	}
	text, err := read()
	if err != nil {
		return fmt.Errorf("call webhook %s: read its URL: %w", name, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSpace(text), bytes.NewReader([]byte("{}")))
	if err != nil {
		return fmt.Errorf("call webhook %s: its file holds no URL", name)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := g.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return fmt.Errorf("call webhook %s: %w", name, err)
	}
	defer resp.Body.Close()                       //nolint:errcheck // read only
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<16) // bounded
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("call webhook %s: status %d", name, resp.StatusCode)
	}
	return nil
}
