package action

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/fake"
	kubetesting "k8s.io/client-go/testing"
)

var servicesResource = schema.GroupVersionResource{Version: "v1", Resource: "services"}

// newFakeCluster returns a client with a Service shop in the namespaces sale and other, and a Namespace sale.
func newFakeCluster() (*fake.FakeDynamicClient, meta.RESTMapper) {
	scheme := runtime.NewScheme()
	_ = corev1.AddToScheme(scheme)
	shop := func(namespace string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: namespace},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "shop", "track": "old"}},
		}
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{corev1.SchemeGroupVersion})
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Service"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	objects := []runtime.Object{shop("sale"), shop("other"), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "sale"}}}
	return fake.NewSimpleDynamicClient(scheme, objects...), mapper
}

func readShopSelector(t *testing.T, client *fake.FakeDynamicClient, namespace string) map[string]string {
	t.Helper()
	o, err := client.Resource(servicesResource).Namespace(namespace).Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := unstructured.NestedStringMap(o.Object, "spec", "selector")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// setShopPorts sets the ports of the Service shop, as another client does. Without ports it leaves them.
func setShopPorts(t *testing.T, client *fake.FakeDynamicClient, ports string) {
	t.Helper()
	if ports == "" {
		return
	}
	patch := []byte(`{"spec":{"ports":` + ports + `}}`)
	if _, err := client.Resource(servicesResource).Namespace("sale").Patch(t.Context(), "shop", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// checkShopPorts compares the ports of the Service shop.
func checkShopPorts(t *testing.T, client *fake.FakeDynamicClient, want string) {
	t.Helper()
	o, err := client.Resource(servicesResource).Namespace("sale").Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
	if got, _ := json.Marshal(ports); string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func newShopPatch(merge string) *Patch {
	return &Patch{APIVersion: "v1", Kind: "Service", Name: "shop", Merge: json.RawMessage(merge)}
}

func TestPatchMerges(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	g := New(client, mapper, Options{})
	open := []Action{{Patch: newShopPatch(`{"spec":{"selector":{"track":"new","app":null}}}`)}}
	for range 2 { // an interrupted pass runs again
		if err := g.Do(t.Context(), "sale", open); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]string{"track": "new"}, readShopSelector(t, client, "sale")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"app": "shop", "track": "old"}, readShopSelector(t, client, "other")); diff != "" {
		t.Errorf("another namespace: %s", diff)
	}
	sent, ok := client.Actions()[0].(kubetesting.PatchActionImpl)
	if !ok || sent.GetPatchType() != types.MergePatchType || sent.PatchOptions.FieldManager != FieldManager {
		t.Errorf("sent %#v", client.Actions()[0])
	}
}

func TestPatchElsewhere(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	p := newShopPatch(`{"spec":{"selector":{"track":"new"}}}`)
	p.Namespace = "other"
	whole := &Patch{APIVersion: "v1", Kind: "Namespace", Name: "sale", Merge: json.RawMessage(`{"metadata":{"labels":{"open":"yes"}}}`)}
	if err := New(client, mapper, Options{}).Do(t.Context(), "sale", []Action{{Patch: p}, {Patch: whole}}); err != nil {
		t.Fatal(err)
	}
	if got := readShopSelector(t, client, "other")["track"]; got != "new" {
		t.Errorf("track is %q", got)
	}
	if got := readShopSelector(t, client, "sale")["track"]; got != "old" {
		t.Errorf("track of the workload's namespace is %q", got)
	}
	o, err := client.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Get(t.Context(), "sale", metav1.GetOptions{})
	if err != nil || o.GetLabels()["open"] != "yes" {
		t.Errorf("namespace %v, %v", o, err)
	}
}

func TestPatchFails(t *testing.T) {
	t.Parallel()
	const merge = `{"spec":{}}`
	forbidden := apierrors.NewForbidden(servicesResource.GroupResource(), "shop", errors.New("no rule allows patch"))
	for name, c := range map[string]struct {
		patch Patch
		deny  error
		want  string
		is    func(error) bool
	}{
		"unknown kind": {Patch{APIVersion: "gateway.networking.k8s.io/v1", Kind: "HTTPRoute", Name: "shop", Merge: json.RawMessage(merge)}, nil, "patch HTTPRoute shop in namespace sale: the API server does not serve HTTPRoute of gateway.networking.k8s.io/v1", func(err error) bool {
			return meta.IsNoMatchError(errors.Unwrap(errors.Unwrap(err)))
		}},
		"not found":       {Patch{APIVersion: "v1", Kind: "Service", Name: "none", Merge: json.RawMessage(merge)}, nil, "patch Service none in namespace sale: ", apierrors.IsNotFound},
		"forbidden":       {*newShopPatch(merge), forbidden, "patch Service shop in namespace sale: services \"shop\" is forbidden: no rule allows patch", apierrors.IsForbidden},
		"cluster's own":   {Patch{APIVersion: "v1", Kind: "Namespace", Namespace: "sale", Name: "sale", Merge: json.RawMessage(merge)}, nil, "Namespace is cluster-scoped, but", nil},
		"no object":       {*newShopPatch(`[]`), nil, "read the merge patch", nil},
		"empty":           {*newShopPatch(`{}`), nil, "the merge patch is empty", nil},
		"nothing":         {*newShopPatch(`null`), nil, "the merge patch is empty", nil},
		"missing":         {*newShopPatch(``), nil, "read the merge patch", nil},
		"broken off":      {*newShopPatch(`{"spec":`), nil, "read the merge patch", nil},
		"what cannot be ": {Patch{APIVersion: "a/b/c", Kind: "D", Name: "d", Merge: json.RawMessage(merge)}, nil, "patch D d in namespace sale: ", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, mapper := newFakeCluster()
			if c.deny != nil {
				client.PrependReactor("patch", "*", func(kubetesting.Action) (bool, runtime.Object, error) { return true, nil, c.deny })
			}
			err := New(client, mapper, Options{}).Do(t.Context(), "sale", []Action{{Patch: &c.patch}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if c.is != nil && !c.is(err) {
				t.Errorf("the cause is lost: %v", err)
			}
		})
	}
}

// startHookReceiver starts a receiver that responds with a status. It returns the receiver's URL and the requests received.
func startHookReceiver(t *testing.T, status int) (string, *[]string) {
	t.Helper()
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.Path+" "+string(body))
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/hush", &got
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	url, got := startHookReceiver(t, http.StatusNoContent)
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := New(nil, nil, Options{Webhooks: map[string]func() (string, error){"open": func() (string, error) { return url, nil }}})
	if err := g.Do(t.Context(), "sale", []Action{{Webhook: "open"}}); err != nil {
		t.Fatal(err)
	}
	want := []string{`POST /hush {"namespace":"sale","percent":100,"webhook":"open"}`}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Error(diff)
	}
}

func TestFirstFailureEnds(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	url, got := startHookReceiver(t, http.StatusServiceUnavailable)
	g := New(client, mapper, Options{Webhooks: map[string]func() (string, error){"open": func() (string, error) { return url, nil }}})
	err := g.Do(t.Context(), "sale", []Action{{Webhook: "open"}, {Patch: newShopPatch(`{"spec":{"selector":{"track":"new"}}}`)}})
	if err == nil || err.Error() != "call webhook open: status 503" {
		t.Errorf("got %v", err)
	}
	if len(*got) != 1 || len(client.Actions()) != 0 {
		t.Errorf("%d calls, %d patches", len(*got), len(client.Actions()))
	}
}

func TestWebhookFails(t *testing.T) {
	t.Parallel()
	unread := errors.New("no such Secret")
	g := New(nil, nil, Options{Webhooks: map[string]func() (string, error){
		"unread": func() (string, error) { return "", unread },
		"dead":   func() (string, error) { return "http://127.0.0.1:1/hush", nil },
	}})
	for name, want := range map[string]string{
		"unread":                "call webhook unread: no such Secret",
		"dead":                  "call webhook dead: connection refused",
		"none":                  "call webhook none: the configuration has no webhook of this name",
		t.TempDir():             "the configuration has no webhook of this name",
		"https://me:hush@a/b/c": "call webhook: a webhook is a name in the configuration",
	} {
		err := g.Do(t.Context(), "sale", []Action{{Webhook: name}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestDoBounds(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	g := New(client, mapper, Options{})
	if err := g.Do(t.Context(), "sale", nil); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
	for _, a := range []Action{{}, {Patch: newShopPatch(`{}`), Webhook: "open"}} {
		if err := g.Do(t.Context(), "sale", []Action{a}); err == nil {
			t.Errorf("%v was taken", a)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	url, got := startHookReceiver(t, http.StatusOK)
	g = New(client, mapper, Options{Webhooks: map[string]func() (string, error){"open": func() (string, error) { return url, nil }}})
	if err := g.Do(ended, "sale", []Action{{Webhook: "open"}}); !errors.Is(err, context.Canceled) || len(*got) != 0 {
		t.Errorf("after the end: %v, %d calls", err, len(*got))
	}
}

// TestGateOfNamespace: a hold opens only gates of the configuration, and only in their namespaces.
func TestGateOfNamespace(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	gate := Gate{
		Namespaces: []string{"sale"}, Open: []Action{{Patch: newShopPatch(`{"spec":{"selector":{"track":"new"}}}`)}},
		Shut: []Action{{Patch: newShopPatch(`{"spec":{"selector":{"track":"old"}}}`)}},
	}
	g := New(client, mapper, Options{Gates: map[string]Gate{"flash-sale": gate}})
	if err := g.Open(t.Context(), "sale", "flash-sale", 100, nil); err != nil {
		t.Fatal(err)
	}
	if err := g.Shut(t.Context(), "sale", "flash-sale", nil); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ namespace, gate, want string }{
		"another namespace": {"other", "flash-sale", "is not allowed for namespace other"},
		"an unknown gate":   {"sale", "mine", "is not in the scaler's configuration"},
		"a path":            {"sale", "/etc/tachometer-secrets/hush", "is not in the scaler's configuration"},
	} {
		if err := g.Open(t.Context(), c.namespace, c.gate, 100, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

// TestD3GateObjectGone: an object that was deleted while its gate was open, or whose kind was uninstalled, keeps no gate from being shut: the
// other actions run, and the pods of its hold need not stay.
func TestD3GateObjectGone(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	gone := newShopPatch(`{"spec":{"selector":{"track":"old"}}}`)
	gone.Name = "deleted"
	uninstalled := &Patch{APIVersion: "gateway.networking.k8s.io/v1", Kind: "HTTPRoute", Name: "shop", Merge: json.RawMessage(`{"spec":{"hostnames":["a"]}}`)}
	there := newShopPatch(`{"spec":{"selector":{"track":"shut"}}}`)
	open := []Action{{Patch: gone}, {Patch: uninstalled}}
	r := New(client, mapper, Options{Gates: map[string]Gate{
		"actions":  {Namespaces: []string{"sale"}, Open: open, Shut: []Action{{Patch: gone}, {Patch: uninstalled}, {Patch: there}}},
		"restored": {Namespaces: []string{"sale"}, Open: open},
	}})
	if err := r.Shut(t.Context(), "sale", "actions", nil); err != nil {
		t.Error(err)
	}
	if got := readShopSelector(t, client, "sale")["track"]; got != "shut" {
		t.Errorf("the action after it did not run: track %s", got)
	}
	changes := []Change{
		{Gate: "restored", APIVersion: "v1", Kind: "Service", Name: "deleted", Path: "/spec/selector/track", Was: `"old"`, Set: []string{`"new"`}},
		{Gate: "restored", APIVersion: uninstalled.APIVersion, Kind: "HTTPRoute", Name: "shop", Path: "/spec/hostnames", Set: []string{`["a"]`}},
	}
	if err := r.Shut(t.Context(), "sale", "restored", changes); err != nil {
		t.Error(err)
	}
	if err := r.Open(t.Context(), "sale", "actions", 100, nil); err == nil {
		t.Error("a gate of objects that are gone opened")
	}
}
