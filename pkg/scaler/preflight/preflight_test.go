package preflight

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/config"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// saleText is a configuration with one of everything; FOLDER holds its files.
const saleText = `apiVersion: config.tachometer.dev/v1alpha1
kind: ScalerConfig
notify:
  team: {webhook: {urlFile: FOLDER/url, allowAddresses: [127.0.0.1]}}
schedules:
- name: hours
  namespace: shop
  workloads: [deploy/web]
  windows: [{start: "08:00", end: "22:00", minReplicas: 8}, {start: "22:00", end: "08:00", minReplicas: 2}]
events:
  http: {address: ":8443", secretFiles: [FOLDER/secret]}
  rules:
  - name: sale
    namespace: shop
    type: START
    workloads: [{workload: deploy/web, replicas: {field: pods, max: 30}}]
    notify: [team]
    onSuccess: [{patch: {apiVersion: v1, kind: ConfigMap, name: gate, merge: {data: {open: "true"}}}}]
    onRelease: [{patch: {apiVersion: v1, kind: ConfigMap, name: gate, merge: {data: {open: "false"}}}}]
`

// planner plans every hold up to a maximum.
type planner struct {
	most int32
	err  error
}

func (p planner) PlanHold(_ context.Context, _ hold.Workload, h hold.Hold, _ time.Time) (rollout.Plan, error) {
	plan := rollout.Plan{Replicas: 2}
	if h.Replicas > p.most {
		plan.RejectReason = fmt.Sprintf("the autoscaler allows at most %d replicas", p.most)
	}
	return plan, p.err
}

// newKinds returns a mapper of the kinds that a cluster has.
func newKinds(withHolds bool) meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, meta.RESTScopeNamespace)
	if withHolds {
		m.Add(hold.GroupVersion.WithKind(hold.Kind), meta.RESTScopeNamespace)
	}
	return m
}

// brokenKinds is a mapper that cannot read the cluster's kinds.
type brokenKinds struct {
	meta.RESTMapper

	err error
}

func (k brokenKinds) RESTMapping(schema.GroupKind, ...string) (*meta.RESTMapping, error) {
	return nil, k.err
}

// world is a cluster with the objects of saleText, and its receiver.
type world struct {
	Inspection
	folder   string
	mu       sync.Mutex // guards posts
	posts    []string
	receiver *httptest.Server
}

// newWorld returns a world in which everything is there, except what change takes away.
func newWorld(t *testing.T, allowed func(*authorizationv1.ResourceAttributes) bool, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{folder: t.TempDir()}
	w.receiver = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.posts = append(w.posts, r.Method+" "+r.URL.Path+" "+string(body))
	}))
	t.Cleanup(w.receiver.Close)
	w.write(t, "url", w.receiver.URL+"/secret-path")
	w.write(t, "secret", "only for this test")
	cfg, err := config.Load([]byte(strings.ReplaceAll(saleText, "FOLDER", w.folder)))
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		review.Status.Allowed = allowed(review.Spec.ResourceAttributes)
		return true, review, nil
	})
	w.Inspection = Inspection{
		Config: cfg, Client: client, Dynamic: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), objects...), Mapper: newKinds(true), Planner: planner{most: 30},
		LeaseNamespace: "tachometer", LeaseName: "tachometer-scaler", Now: time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC),
	}
	return w
}

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rejectHolds makes the API server answer each write of a Hold with an error. No check stores one.
func (w *world) rejectHolds(err error) {
	w.Dynamic.(*dynamicfake.FakeDynamicClient).PrependReactor("create", hold.Resource, func(a clienttesting.Action) (bool, runtime.Object, error) {
		if opts := a.(clienttesting.CreateActionImpl).CreateOptions; len(opts.DryRun) == 0 || opts.FieldValidation != metav1.FieldValidationStrict {
			return true, nil, fmt.Errorf("not a strict dry run: %+v", opts)
		}
		return true, nil, err
	})
}

func everything(*authorizationv1.ResourceAttributes) bool { return true }

// newGate is the object that the rule's actions patch.
func newGate() runtime.Object {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "gate", "namespace": "shop"}}}
}

// TestCheck: with everything there nothing is missing, and what is taken away is missing alone, with what mends it.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change  func(t *testing.T, w *world)
		allowed func(*authorizationv1.ResourceAttributes) bool
		noGate  bool
		missing map[string]string // part of the fix, by check
		fault   string            // part of the detail
		few     bool              // without the checks of the cluster
	}{
		"everything": {},
		"no definition": {
			change: func(_ *testing.T, w *world) { w.Mapper = newKinds(false) }, missing: map[string]string{"crd": "manifests/scaler/crd"}, fault: "no matches for kind",
		},
		"old definition": {
			change: func(_ *testing.T, w *world) {
				w.rejectHolds(apierrors.NewBadRequest(`Hold in version "v1alpha1" cannot be handled as a Hold: strict decoding error: unknown field "spec.windowStart"`))
			},
			missing: map[string]string{"hold": "manifests/scaler/crd"}, fault: "older than this program",
		},
		"quota on Holds": {
			change: func(_ *testing.T, w *world) {
				w.rejectHolds(apierrors.NewForbidden(schema.GroupResource{Resource: "holds"}, "check", errors.New("exceeded quota: few, requested: count/holds=1")))
			},
			missing: map[string]string{"hold": "describe namespace shop"}, fault: "exceeded quota",
		},
		"no right to create": { // the check of rights says so
			change: func(_ *testing.T, w *world) {
				w.rejectHolds(apierrors.NewForbidden(schema.GroupResource{Resource: "holds"}, "check", errors.New(`User "x" cannot create resource "holds" in API group "scaler.tachometer.dev"`)))
			},
		},
		"webhook away": {
			change: func(_ *testing.T, w *world) {
				w.rejectHolds(apierrors.NewInternalError(errors.New("failed calling webhook")))
			},
			missing: map[string]string{"hold": ""}, fault: "failed calling webhook",
		},
		"no API server": {
			change: func(_ *testing.T, w *world) {
				err := fmt.Errorf("plan: %w", &url.Error{Op: "Get", URL: "https://api", Err: errors.New("connection refused")})
				w.Mapper, w.Planner = brokenKinds{err: err}, planner{30, err}
			},
			missing: map[string]string{"cluster": "kubectl version"}, fault: "connection refused", few: true,
		},
		"no right to scale": {
			allowed: func(a *authorizationv1.ResourceAttributes) bool { return a.Subresource != "scale" || a.Verb != "patch" },
			missing: map[string]string{"rights": applyRoles}, fault: "not granted",
		},
		"not bound in the namespace": {
			allowed: func(a *authorizationv1.ResourceAttributes) bool {
				return a.Namespace != "shop" || a.Resource == "configmaps" || a.Resource == hold.Resource && a.Verb == "list" // by the role for all namespaces
			},
			missing: map[string]string{"rights": "kubectl -n shop create rolebinding tachometer-scaler --clusterrole=tachometer-scaler-workloads --serviceaccount=tachometer:tachometer-scaler"}, fault: "not granted",
		},
		"no lease": {allowed: func(a *authorizationv1.ResourceAttributes) bool { return a.Resource != "leases" }, missing: map[string]string{"rights": applyRoles}, fault: "not granted"},
		"no gate":  {noGate: true, missing: map[string]string{"gate": "create it"}, fault: "does not exist"},
		"too many": {change: func(_ *testing.T, w *world) { w.Planner = planner{most: 20} }, missing: map[string]string{"workload": "change the rule"}, fault: "at most 20"},
		"of KEDA": {
			change: func(_ *testing.T, w *world) {
				w.Planner = planner{30, errors.New("autoscaler web belongs to ScaledObject web, which reverts every change: set its minReplicaCount instead")}
			},
			missing: map[string]string{"workload": "mend that"}, fault: "set its minReplicaCount",
		},
		"no workload":  {change: func(_ *testing.T, w *world) { w.Planner = planner{30, rollout.ErrGone} }, missing: map[string]string{"workload": "create it"}, fault: "does not exist"},
		"no notifier":  {change: func(_ *testing.T, w *world) { w.receiver.Close() }, missing: map[string]string{"notifier": "NetworkPolicy"}, fault: "refused"},
		"no URL":       {change: func(t *testing.T, w *world) { w.write(t, "url", "slack") }, missing: map[string]string{"notifier": "Secret"}, fault: "begins with http://"},
		"no secret":    {change: func(t *testing.T, w *world) { w.write(t, "secret", "") }, missing: map[string]string{"http": "Secret"}, fault: "empty"},
		"send to none": {change: func(_ *testing.T, w *world) { w.receiver.Close(); w.Send = true }, missing: map[string]string{"notifier": "NetworkPolicy"}, fault: "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.allowed == nil {
				tc.allowed = everything
			}
			objects := []runtime.Object{newGate()}
			if tc.noGate {
				objects = nil
			}
			w := newWorld(t, tc.allowed, objects...)
			if tc.change != nil {
				tc.change(t, w)
			}
			all := Run(t.Context(), w.Inspection)
			found := map[string]bool{}
			for _, r := range all {
				if r.Status == OK {
					continue
				}
				found[r.Check] = true
				if tc.few && r.Status != Unknown {
					t.Errorf("nothing is known without the API server: %+v", r)
				}
				if want, ok := tc.missing[r.Check]; !ok || !strings.Contains(r.Fix, want) || !strings.Contains(r.Detail, tc.fault) {
					t.Errorf("%+v", r)
				}
				if strings.Contains(r.Detail, "secret-path") {
					t.Errorf("shows the URL: %+v", r)
				}
			}
			if len(found) != len(tc.missing) || (Err(all) != nil) != (len(tc.missing) > 0) || (len(all) < 8) != tc.few {
				t.Errorf("found %v of %d results", found, len(all))
			}
		})
	}
}

// TestCheckSmallerWindow: a window without a maxReplicas is planned beside a larger one that brings its own.
func TestCheckSmallerWindow(t *testing.T) {
	t.Parallel()
	for windows, want := range map[string]string{
		`{start: "08:00", end: "12:00", minReplicas: 18, maxReplicas: 20}, {start: "12:00", end: "13:00", minReplicas: 3}, {start: "13:00", end: "22:00", minReplicas: 12}`: "18/20 12/0",
		`{start: "08:00", end: "12:00", minReplicas: 18, maxReplicas: 20}`:                                                                                                  "18/20",
		`{start: "08:00", end: "12:00", minReplicas: 8, maxReplicas: 20}, {start: "12:00", end: "22:00", minReplicas: 12}`:                                                  "12/0",
	} {
		cfg, err := config.Load([]byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\nschedules:\n" +
			"- {name: hours, namespace: shop, workloads: [deploy/web], windows: [" + windows + "]}\n"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range listLargestHolds(cfg) {
			got = append(got, fmt.Sprintf("%d/%d", p.hold.Replicas, p.hold.MaxReplicas))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: plans %v; want %s", windows, got, want)
		}
	}
}

// TestCheckSends: without --send no message leaves; with it, a failure and its end.
func TestCheckSends(t *testing.T) {
	t.Parallel()
	for _, send := range []bool{false, true} {
		w := newWorld(t, everything, newGate())
		w.Send = send
		if n := CountStatus(Run(t.Context(), w.Inspection), Missing); n != 0 {
			t.Errorf("%d missing", n)
		}
		w.mu.Lock()
		posts := slices.Clone(w.posts)
		w.mu.Unlock()
		want := []string{"HEAD / "}
		if send {
			want = []string{"POST /secret-path ", "POST /secret-path "}
		}
		if len(posts) != len(want) {
			t.Fatalf("send %v: %q", send, posts)
		}
		for i, prefix := range want {
			if !strings.HasPrefix(posts[i], prefix) || send && !strings.Contains(posts[i], "test") {
				t.Errorf("send %v: %q", send, posts[i])
			}
		}
	}
}

// TestCheckUnanswered: an optional right that is not granted is no fault. A right that could not be asked for is not missing, and fails the check.
func TestCheckUnanswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(a *authorizationv1.ResourceAttributes) bool { return a.Namespace != "" }, newGate())
	all := Run(t.Context(), w.Inspection)
	i := slices.IndexFunc(all, func(r Result) bool {
		return strings.HasPrefix(r.Detail, "optional") && strings.Contains(r.Subject, "in all namespaces")
	})
	if err := Err(all); i < 0 || err != nil {
		t.Errorf("%v: %+v", err, all)
	}
	w.Client.(*fake.Clientset).PrependReactor("create", "selfsubjectaccessreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("away")
	})
	all = Run(t.Context(), w.Inspection)
	unknown := CountStatus(all, Unknown)
	if err := Err(all); unknown == 0 || err == nil || err.Error() != fmt.Sprintf("%d of %d checks could not be made", unknown, len(all)) {
		t.Errorf("%d unknown: %v", unknown, err)
	}
}

// TestGateRights: a gate patches its objects, and reads those that it restores.
func TestGateRights(t *testing.T) {
	t.Parallel()
	const route = "[{patch: {apiVersion: example.org/v1, kind: Edge, name: NAME, merge: {spec: {open: true}}}}]"
	cfg, err := config.Load([]byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\ngates:\n" +
		"- {name: a, namespaces: [shop], open: " + strings.ReplaceAll(route, "NAME", "restored") + "}\n" +
		"- {name: b, namespaces: [shop], open: " + strings.ReplaceAll(route, "NAME", "shut") + ", shut: " + strings.ReplaceAll(route, "NAME", "shut") + "}\n"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "example.org", Version: "v1"}})
	kinds.Add(schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Edge"}, meta.RESTScopeNamespace)
	var got []string
	for _, r := range listGateRights(cfg, kinds) {
		got = append(got, r.String())
	}
	want := []string{"patch edges.example.org restored in namespace shop", "get edges.example.org restored in namespace shop", "patch edges.example.org shut in namespace shop"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRightsAreShipped: the shipped roles grant each right that a configuration needs, except on objects of gates.
func TestRightsAreShipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everything)
	w.Config.Namespaces = append(w.Config.Namespaces, "other")
	rules := readShippedRules(t)
	rights := listControllerRights(w.Config, w.Mapper, w.LeaseNamespace, w.LeaseName)
	if len(rights) < 30 {
		t.Fatalf("only %d rights", len(rights))
	}
	for _, r := range rights {
		if !slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool { return grantsRight(rule, r) }) {
			t.Errorf("no shipped role grants %s", r)
		}
	}
}

func grantsRight(rule rbacv1.PolicyRule, r Right) bool {
	resource := r.Resource
	if r.Subresource != "" {
		resource += "/" + r.Subresource
	}
	return slices.Contains(rule.APIGroups, r.Group) && slices.Contains(rule.Resources, resource) && slices.Contains(rule.Verbs, r.Verb) &&
		(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, r.Name))
}

// readShippedRules reads the rules of the scaler's own roles.
func readShippedRules(t *testing.T) (all []rbacv1.PolicyRule) {
	t.Helper()
	data, err := os.ReadFile("../../../manifests/scaler/base/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		var role rbacv1.ClusterRole
		if err == nil {
			err = yaml.Unmarshal(doc, &role)
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(role.Name, "tachometer-scaler") && strings.HasSuffix(role.Kind, "Role") {
			all = append(all, role.Rules...)
		}
	}
}

// TestPlaceholders: a patch with placeholders is tried as in the last step.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	for merge, want := range map[string]string{
		`{"data":{"open":"true"}}`: `{"data":{"open":"true"}}`, `{"spec":{"weight":"<<.Percent>>"}}`: `{"spec":{"weight":100}}`, `{"spec":{"weight":"\u003c\u003c.Percent>>"}}`: `{"spec":{"weight":100}}`,
	} {
		p := newGatePatch("sale", "shop", &action.Patch{APIVersion: "v1", Kind: "ConfigMap", Name: "gate", Merge: []byte(merge)})
		if string(p.merge) != want || p.namespace != "shop" {
			t.Errorf("%s: %+v", merge, p)
		}
	}
}

// TestConflictingGates: gates of two namespaces that change one cluster-scoped object are found, also if only the cluster knows its scope.
func TestConflictingGates(t *testing.T) {
	t.Parallel()
	const edge = "open: [{patch: {apiVersion: example.org/v1, kind: Edge, name: cdn, merge: {spec: {open: true}}}}]}\n"
	cfg, err := config.Load([]byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\ngates:\n- {name: a, namespaces: [shop], " + edge + "- {name: b, namespaces: [cart], " + edge))
	if err != nil {
		t.Fatal(err)
	}
	for _, scope := range []meta.RESTScope{meta.RESTScopeRoot, meta.RESTScopeNamespace} {
		kinds := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "example.org", Version: "v1"}})
		kinds.Add(schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Edge"}, scope)
		all := (&Inspection{Config: cfg, Mapper: kinds}).checkGateConflicts(t.Context())
		if found := len(all) == 1 && all[0].Status == Missing && strings.Contains(all[0].Detail, "gate b changes Edge cdn at /spec/open, as gate a does"); found != (scope == meta.RESTScopeRoot) {
			t.Errorf("scope %s: %+v", scope.Name(), all)
		}
	}
}
