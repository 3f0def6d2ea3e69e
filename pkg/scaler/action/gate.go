package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// FieldManager is who the patched fields belong to.
const FieldManager = "tachometer-scaler"

// within bounds one action: whoever waits for it has a target to look after, and does it again.
const within = 10 * time.Second

// Options are what a Gate does without.
type Options struct {
	// Webhooks return the URL of each webhook, by name, whenever it is called.
	Webhooks map[string]func() (string, error)
	// Client calls webhooks, without following redirects; nil: one with a timeout of 5 s.
	Client *http.Client
}

// Gate does actions. It keeps nothing, and its methods may be called concurrently.
type Gate struct {
	client   dynamic.Interface
	mapper   meta.RESTMapper
	webhooks map[string]func() (string, error)
	http     *http.Client
}

// New returns a gate that patches with client, and finds the APIs of kinds with mapper.
func New(client dynamic.Interface, mapper meta.RESTMapper, opts Options) *Gate {
	return &Gate{client: client, mapper: mapper, webhooks: opts.Webhooks, http: webhook.Client(opts.Client)}
}

// Do does the actions in their order, up to the first that fails; the error names it. Objects without a namespace of their own
// are looked for in the one given. Doing it again is harmless.
func (g *Gate) Do(ctx context.Context, namespace string, actions []Action) error {
	for _, a := range actions {
		if err := g.one(ctx, namespace, a); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gate) one(ctx context.Context, namespace string, a Action) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	switch {
	case (a.Patch == nil) == (a.Webhook == ""):
		return errors.New("an action is a patch or a webhook")
	case a.Patch != nil:
		return g.patch(ctx, namespace, a.Patch)
	}
	if isURL(a.Webhook) {
		return errors.New("call webhook: " + secret)
	}
	if err := g.call(ctx, namespace, a.Webhook); err != nil {
		return fmt.Errorf("call webhook %s: %w", a.Webhook, err)
	}
	return nil
}

const secret = "a webhook is a name, or the file that holds the URL; the URL itself is a secret"

func isURL(webhook string) bool { return strings.Contains(webhook, "://") }

func (g *Gate) patch(ctx context.Context, namespace string, p *Patch) error {
	if p.Namespace != "" {
		namespace = p.Namespace
	}
	objects, err := g.objects(p, namespace)
	if err == nil {
		err = mergeable(p.Merge)
	}
	if err == nil {
		_, err = objects.Patch(ctx, p.Name, types.MergePatchType, p.Merge, metav1.PatchOptions{FieldManager: FieldManager})
	}
	if err != nil {
		return fmt.Errorf("patch %s %s in namespace %s: %w", p.Kind, p.Name, namespace, err)
	}
	return nil
}

// objects are those of the patch's kind.
func (g *Gate) objects(p *Patch, namespace string) (dynamic.ResourceInterface, error) {
	kind := schema.FromAPIVersionAndKind(p.APIVersion, p.Kind)
	mapping, err := g.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	switch {
	case meta.IsNoMatchError(err):
		return nil, fmt.Errorf("the API server knows no %s of %s: %w", p.Kind, p.APIVersion, err)
	case err != nil:
		return nil, fmt.Errorf("find the API of %s: %w", p.Kind, err)
	case mapping.Scope.Name() == meta.RESTScopeNameNamespace:
		return g.client.Resource(mapping.Resource).Namespace(namespace), nil
	case p.Namespace != "":
		return nil, fmt.Errorf("%s is of no namespace, yet the patch names one", p.Kind)
	}
	return g.client.Resource(mapping.Resource), nil
}

// mergeable tells a patch from what would replace the whole object.
func mergeable(merge json.RawMessage) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(merge, &object); err != nil {
		return fmt.Errorf("read the merge patch: %w", err)
	}
	if len(object) == 0 {
		return errors.New("the merge patch is empty")
	}
	return nil
}

// call posts the namespace and the webhook's name, so that one receiver can serve several.
func (g *Gate) call(ctx context.Context, namespace, name string) error {
	address, ok := g.webhooks[name]
	if !ok {
		if info, err := os.Stat(name); err != nil || info.IsDir() {
			return errors.New("there is none of this name, and no such file")
		}
		address = webhook.File(name)
	}
	body, err := json.Marshal(map[string]string{"namespace": namespace, "webhook": name})
	if err != nil {
		return fmt.Errorf("write the body: %w", err)
	}
	return webhook.Post(ctx, g.http, address, nil, body)
}
