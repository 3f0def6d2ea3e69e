package hold

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Client reads and writes Holds. Its methods may be called concurrently. They return the API server's errors.
type Client struct {
	rest   rest.Interface
	dryRun bool
}

// NewClient returns a client. It does not change cfg.
func NewClient(cfg *rest.Config) (*Client, error) {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(GroupVersion.WithKind(Kind), &Object{})
	scheme.AddKnownTypeWithName(GroupVersion.WithKind(Kind+"List"), &ObjectList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	c := rest.CopyConfig(cfg)
	c.GroupVersion, c.APIPath = &GroupVersion, "/apis"
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.ContentType, c.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("make a client of holds: %w", err)
	}
	return &Client{rest: client}, nil
}

// DryRun returns a client for which the API server checks every write, and stores none.
func (c *Client) DryRun() *Client { return &Client{rest: c.rest, dryRun: true} }

// writeHold sends a write, and returns the object that the API server stored. Strict validation makes an API server reject a field that its schema does
// not have: it would drop the field, and with it the window of a schedule, or the number that a person set in it.
func (c *Client) writeHold(ctx context.Context, r *rest.Request, body any) (*Object, error) {
	if c.dryRun {
		r = r.Param("dryRun", metav1.DryRunAll)
	}
	made := &Object{}
	err := r.Param("fieldManager", Manager).Param("fieldValidation", metav1.FieldValidationStrict).Body(body).Do(ctx).Into(made)
	return made, DescribeSchemaError(err)
}

// ApplySchema is the command that brings the schema of Holds up to date.
const ApplySchema = "kubectl apply -k manifests/scaler/crd"

// schemaErrorPrefix begins the errors of writes that the schema has no field for.
const schemaErrorPrefix = "the CustomResourceDefinition of Holds is older than this program"

// DescribeSchemaError returns the error of a write with the way out, if the API server's schema of Holds is older than this program; else the error.
func DescribeSchemaError(err error) error {
	if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), "strict decoding error: unknown field") {
		return err
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%s, which changes nothing before: %s (%v)", schemaErrorPrefix, ApplySchema, err))
}

// IsSchemaError reports whether an error is of a schema that is older than this program.
func IsSchemaError(err error) bool {
	return apierrors.IsBadRequest(err) && strings.HasPrefix(err.Error(), schemaErrorPrefix)
}

// holdListPage is the number of Holds in a page of a list. Each may have the 1.5 MiB that etcd takes.
const holdListPage = "20"

// ListHolds lists the Holds of a namespace with a label selector; an empty namespace means all namespaces.
func (c *Client) ListHolds(ctx context.Context, namespace, selector string) (all []Object, err error) {
	err = c.EachHoldPage(ctx, namespace, selector, func(page []Object) { all = append(all, page...) })
	if err != nil {
		return nil, err
	}
	return all, nil
}

// EachHoldPage calls use with each page of the Holds of ListHolds, and holds one page at a time.
func (c *Client) EachHoldPage(ctx context.Context, namespace, selector string, use func([]Object)) error {
	for token := ""; ; {
		page := &ObjectList{}
		r := c.rest.Get().NamespaceIfScoped(namespace, namespace != "").Resource(Resource).Param("labelSelector", selector).Param("limit", holdListPage)
		if token != "" {
			r = r.Param("continue", token)
		}
		if err := r.Do(ctx).Into(page); err != nil {
			return err
		}
		use(page.Items)
		if token = page.Continue; token == "" {
			return nil
		}
	}
}

// CreateHold creates a Hold.
func (c *Client) CreateHold(ctx context.Context, o *Object) (*Object, error) {
	return c.writeHold(ctx, c.rest.Post().Namespace(o.Namespace).Resource(Resource), o)
}

// UpdateHold writes metadata and spec of a Hold, if it is still the version that was read.
func (c *Client) UpdateHold(ctx context.Context, o *Object) (*Object, error) {
	if o.Trimmed {
		whole, err := c.restoreMetadata(ctx, o)
		if err != nil {
			return nil, err
		}
		o = whole
	}
	return c.writeHold(ctx, c.rest.Put().Namespace(o.Namespace).Resource(Resource).Name(o.Name), o)
}

// UpdateHoldStatus writes the status of a Hold, if it is still the version that was read.
func (c *Client) UpdateHoldStatus(ctx context.Context, o *Object) (*Object, error) {
	return c.writeHold(ctx, c.rest.Put().Namespace(o.Namespace).Resource(Resource).Name(o.Name).SubResource("status"), o)
}

// PatchHold applies a JSON merge patch to a Hold.
func (c *Client) PatchHold(ctx context.Context, namespace, name string, patch []byte) (*Object, error) {
	return c.writeHold(ctx, c.rest.Patch(types.MergePatchType).Namespace(namespace).Resource(Resource).Name(name), patch)
}

// DeleteHold deletes a Hold, if it is still the version that was read. The object stays until the scaler removes its finalizer.
func (c *Client) DeleteHold(ctx context.Context, o *Object) error {
	opts := metav1.DeleteOptions{
		TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		Preconditions: &metav1.Preconditions{UID: &o.UID, ResourceVersion: &o.ResourceVersion},
	}
	if c.dryRun { // beside a body, the API server ignores a parameter
		opts.DryRun = []string{metav1.DryRunAll}
	}
	body, err := json.Marshal(opts)
	if err != nil {
		return fmt.Errorf("delete hold %s: %w", o.Name, err)
	}
	r := c.rest.Delete().Namespace(o.Namespace).Resource(Resource).Name(o.Name).SetHeader("Content-Type", runtime.ContentTypeJSON).Body(body)
	return r.Do(ctx).Error()
}

// NewInformer returns an informer of the Holds of a namespace, with the indexes of NewIndexers.
func (c *Client) NewInformer(namespace string) cache.SharedIndexInformer {
	watcher := cache.NewListWatchFromClient(c.rest, Resource, namespace, fields.Everything())
	return cache.NewSharedIndexInformer(watcher, &Object{}, 0, NewIndexers())
}

// The indexes of an informer of the Holds of a namespace.
const (
	WorkloadIndex = "workload" // by Workload.IndexKey
	GroupIndex    = "group"    // by the name of the group
	SharedIndex   = "shared"   // SharedIndexKey: the holds that share a gate or an autoscaler with others
)

// SharedIndexKey is the key of all holds in SharedIndex.
const SharedIndexKey = "shared"

// NewIndexers returns the functions of the indexes.
func NewIndexers() cache.Indexers {
	indexHolds := func(keysOf func(*Object) []string) cache.IndexFunc {
		return func(object any) ([]string, error) {
			if o, ok := object.(*Object); ok {
				return keysOf(o), nil
			}
			return nil, nil
		}
	}
	return cache.Indexers{
		WorkloadIndex: indexHolds(func(o *Object) []string { return []string{o.HeldWorkload().IndexKey()} }),
		GroupIndex: indexHolds(func(o *Object) []string {
			if o.Spec.Group == nil {
				return nil
			}
			return []string{o.Spec.Group.Name}
		}),
		SharedIndex: indexHolds(func(o *Object) []string {
			if !o.IsShared() {
				return nil
			}
			return []string{SharedIndexKey}
		}),
	}
}
