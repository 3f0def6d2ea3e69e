// Runs the actions of gates.

package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// FieldManager is the field manager of patched fields.
const FieldManager = "tachometer-scaler"

// actionTimeout bounds an action. The caller also has to reconcile the workload, and retries the action.
const actionTimeout = 10 * time.Second

// Options are the optional settings of a Runner.
type Options struct {
	// Webhooks are functions by the name of the webhook. Each call of a webhook asks its function for the URL.
	Webhooks map[string]func() (string, error)
	// Gates are the gates by name.
	Gates map[string]Gate
	// Client calls webhooks and follows no redirects; nil: a client with a timeout of 5 s.
	Client *http.Client
}

// Runner runs actions. It has no state, and its methods may be called concurrently.
type Runner struct {
	client     dynamic.Interface
	mapper     meta.RESTMapper
	webhooks   map[string]func() (string, error)
	gates      map[string]Gate
	httpClient *http.Client
}

// New returns a runner. It patches objects with client, and maps kinds to resources with mapper.
func New(client dynamic.Interface, mapper meta.RESTMapper, opts Options) *Runner {
	return &Runner{client: client, mapper: mapper, webhooks: opts.Webhooks, gates: opts.Gates, httpClient: webhook.NewClient(opts.Client)}
}

// Fault returns why no hold of the namespace may use the gate; empty: holds may use it.
func (r *Runner) Fault(namespace, gate string) string {
	g, ok := r.gates[gate]
	switch {
	case !ok:
		return fmt.Sprintf("gate %s is not in the scaler's configuration", gate)
	case !slices.Contains(g.Namespaces, namespace):
		return fmt.Sprintf("gate %s is not allowed for namespace %s in the scaler's configuration", gate, namespace)
	}
	return ""
}

// Plan returns how a gate opens.
func (r *Runner) Plan(gate string) Plan { return r.gates[gate].Plan }

// Open runs the actions that open a gate, for a percentage of the traffic. Lists of the changes of its Record keep the edits of other clients.
func (r *Runner) Open(ctx context.Context, namespace, gate string, percent int, changes []Change) error {
	if fault := r.Fault(namespace, gate); fault != "" {
		return errors.New(fault)
	}
	own := selectGateChanges(gate, changes)
	for _, a := range r.gates[gate].Open {
		var fill fillList
		if a.Patch != nil {
			fill = fillOpenGateLists(a.Patch.selectPatchChanges(namespace, own))
		}
		if err := r.runPatchOrWebhook(ctx, namespace, a, percent, fill); err != nil {
			return err
		}
	}
	return nil
}

// Shut runs the actions that shut a gate. A gate without any restores the changes of its Record. An object that was deleted, or whose kind was, lets
// no traffic in: it needs no action.
func (r *Runner) Shut(ctx context.Context, namespace, gate string, changes []Change) error {
	if fault := r.ShutFault(namespace, gate, r.Key(namespace, gate), changes); fault != "" {
		return errors.New(fault)
	}
	for _, a := range r.gates[gate].Shut {
		err := r.runPatchOrWebhook(ctx, namespace, a, 0, r.gates[gate].fillShutGateLists(a.Patch, namespace))
		if a.Patch != nil && apierrors.IsForbidden(err) { // it may have no right to read the object: its lists are replaced
			err = r.runPatchOrWebhook(ctx, namespace, a, 0, nil)
		}
		if err != nil && !isPatchedObjectGone(err) {
			return err
		}
	}
	if len(r.gates[gate].Shut) > 0 {
		return nil
	}
	return r.restoreGateChanges(ctx, namespace, gate, changes)
}

// Do runs the actions in their order, and stops at the first failure; the error names it. The given namespace applies to patches without
// a namespace. A repeated call is harmless.
func (r *Runner) Do(ctx context.Context, namespace string, actions []Action) error {
	for _, a := range actions {
		if err := r.runPatchOrWebhook(ctx, namespace, a, 100, nil); err != nil {
			return err
		}
	}
	return nil
}

// isPatchedObjectGone reports whether the object of an action was deleted, or its kind was.
func isPatchedObjectGone(err error) bool {
	return apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
}

func (r *Runner) runPatchOrWebhook(ctx context.Context, namespace string, a Action, percent int, fill fillList) error {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	switch {
	case (a.Patch == nil) == (a.Webhook == ""):
		return errors.New("run action: give either patch or webhook")
	case a.Patch != nil:
		return r.runPatchAction(ctx, namespace, a.Patch, percent, fill)
	}
	if isWebhookURL(a.Webhook) {
		return errors.New("call webhook: " + secretURLMessage)
	}
	if err := r.runWebhookAction(ctx, namespace, a.Webhook, percent); err != nil {
		return fmt.Errorf("call webhook %s: %w", a.Webhook, err)
	}
	return nil
}

const secretURLMessage = "a webhook is a name in the configuration; the URL itself is a secret"

func isWebhookURL(webhook string) bool { return strings.Contains(webhook, "://") }

func (r *Runner) runPatchAction(ctx context.Context, namespace string, p *Patch, percent int, fill fillList) error {
	namespace = p.patchedNamespace(namespace)
	objects, err := r.resolveGatePatchClient(p, namespace)
	if err == nil {
		err = validateMergePatch(p.Merge)
	}
	merge := p.Merge
	if err == nil {
		merge, err = p.RenderMerge(percent)
	}
	if err == nil {
		err = retry.RetryOnConflict(retry.DefaultRetry, func() error { return p.sendMergePatch(ctx, objects, merge, fill) })
	}
	if err != nil {
		return fmt.Errorf("patch %s %s in namespace %s: %w", p.Kind, p.Name, namespace, err)
	}
	return nil
}

// resolveGatePatchClient returns the client for the kind and namespace of a patch.
func (r *Runner) resolveGatePatchClient(p *Patch, namespace string) (dynamic.ResourceInterface, error) {
	kind := schema.FromAPIVersionAndKind(p.APIVersion, p.Kind)
	mapping, err := r.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	switch {
	case meta.IsNoMatchError(err):
		return nil, fmt.Errorf("the API server does not serve %s of %s: %w", p.Kind, p.APIVersion, err)
	case err != nil:
		return nil, fmt.Errorf("find the API of %s: %w", p.Kind, err)
	case mapping.Scope.Name() == meta.RESTScopeNameNamespace:
		return r.client.Resource(mapping.Resource).Namespace(namespace), nil
	case p.Namespace != "":
		return nil, fmt.Errorf("%s is cluster-scoped, but the patch has a namespace", p.Kind)
	}
	return r.client.Resource(mapping.Resource), nil
}

// validateMergePatch rejects an empty patch, and JSON other than an object: it would replace the whole object.
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

// runWebhookAction posts the namespace, the webhook's name and the percentage, so that a receiver can serve several webhooks.
func (r *Runner) runWebhookAction(ctx context.Context, namespace, name string, percent int) error {
	address, ok := r.webhooks[name]
	if !ok {
		return errors.New("the configuration has no webhook of this name")
	}
	body, err := json.Marshal(map[string]any{"namespace": namespace, "webhook": name, "percent": percent})
	if err != nil {
		return fmt.Errorf("write the body: %w", err)
	}
	return webhook.Post(ctx, r.httpClient, address, nil, body)
}
