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

// actionTimeout bounds one action: whoever waits for it has a target to look after, and does it again.
const actionTimeout = 10 * time.Second

// Options are what a Gate does without.
type Options struct {
	// Webhooks return the URL of each webhook, by name, whenever it is called.
	Webhooks map[string]func() (string, error)
	// Client calls webhooks, without following redirects; nil: one with a timeout of 5 s.
	Client *http.Client
}

// Runner does actions. It keeps nothing, and its methods may be called concurrently.
type Runner struct {
	client     dynamic.Interface
	mapper     meta.RESTMapper
	webhooks   map[string]func() (string, error)
	httpClient *http.Client
}

// New returns a gate that patches with client, and finds the APIs of kinds with mapper.
func New(client dynamic.Interface, mapper meta.RESTMapper, opts Options) *Runner {
	return &Runner{client: client, mapper: mapper, webhooks: opts.Webhooks, httpClient: webhook.NewClient(opts.Client)}
}

// Do does the actions in their order, up to the first that fails; the error names it. Objects without a namespace of their own
// are looked for in the one given. Doing it again is harmless.
func (g *Runner) Do(ctx context.Context, namespace string, actions []Action) error {
	for _, a := range actions {
		if err := g.runAction(ctx, namespace, a); err != nil {
			return err
		}
	}
	return nil
}

func (g *Runner) runAction(ctx context.Context, namespace string, a Action) error {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	switch {
	case (a.Patch == nil) == (a.Webhook == ""):
		return errors.New("an action is a patch or a webhook")
	case a.Patch != nil:
		return g.patchObject(ctx, namespace, a.Patch)
	}
	if isWebhookURL(a.Webhook) {
		return errors.New("call webhook: " + secretURLMessage)
	}
	if err := g.callWebhook(ctx, namespace, a.Webhook); err != nil {
		return fmt.Errorf("call webhook %s: %w", a.Webhook, err)
	}
	return nil
}

const secretURLMessage = "a webhook is a name, or the file that holds the URL; the URL itself is a secret"

func isWebhookURL(webhook string) bool { return strings.Contains(webhook, "://") }

func (g *Runner) patchObject(ctx context.Context, namespace string, p *Patch) error {
	if p.Namespace != "" {
		namespace = p.Namespace
	}
	objects, err := g.resolveObjectClient(p, namespace)
	if err == nil {
		err = validateMergePatch(p.Merge)
	}
	if err == nil {
		_, err = objects.Patch(ctx, p.Name, types.MergePatchType, p.Merge, metav1.PatchOptions{FieldManager: FieldManager})
	}
	if err != nil {
		return fmt.Errorf("patch %s %s in namespace %s: %w", p.Kind, p.Name, namespace, err)
	}
	return nil
}

// resolveObjectClient are those of the patch's kind.
func (g *Runner) resolveObjectClient(p *Patch, namespace string) (dynamic.ResourceInterface, error) {
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

// validateMergePatch tells a patch from what would replace the whole object.
func validateMergePatch(merge json.RawMessage) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(merge, &object); err != nil {
		return fmt.Errorf("read the merge patch: %w", err)
	}
	if len(object) == 0 {
		return errors.New("the merge patch is empty")
	}
	return nil
}

// callWebhook posts the namespace and the webhook's name, so that one receiver can serve several.
func (g *Runner) callWebhook(ctx context.Context, namespace, name string) error {
	address, ok := g.webhooks[name]
	if !ok {
		if info, err := os.Stat(name); err != nil || info.IsDir() {
			return errors.New("there is none of this name, and no such file")
		}
		address = webhook.URLFromFile(name)
	}
	body, err := json.Marshal(map[string]string{"namespace": namespace, "webhook": name})
	if err != nil {
		return fmt.Errorf("write the body: %w", err)
	}
	return webhook.Post(ctx, g.httpClient, address, nil, body)
}
