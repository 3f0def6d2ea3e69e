package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// managedObject is the object whose number a hold changes: the autoscaler, or a workload without one.
type managedObject struct {
	t          *testing.T
	namespace  string
	autoscaled bool
}

// numberField is the name of the number in the spec.
func (o managedObject) numberField() string {
	if o.autoscaled {
		return "minReplicas"
	}
	return "replicas"
}

// manifest returns the object as it is in Git, with a number.
func (o managedObject) manifest(number int32) map[string]any {
	m := map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "shop"}, "spec": map[string]any{"replicas": number}}
	if o.autoscaled {
		m["apiVersion"], m["kind"], m["spec"] = "autoscaling/v2", "HorizontalPodAutoscaler", map[string]any{"minReplicas": number, "maxReplicas": 30}
	}
	return m
}

// apply applies a manifest with server-side apply, as a field manager.
func (o managedObject) apply(manager string, manifest map[string]any, force bool) error {
	o.t.Helper()
	text, err := json.Marshal(manifest)
	if err != nil {
		o.t.Fatal(err)
	}
	options := metav1.PatchOptions{FieldManager: manager, Force: &force}
	if o.autoscaled {
		_, err = client.AutoscalingV2().HorizontalPodAutoscalers(o.namespace).Patch(o.t.Context(), "shop", types.ApplyPatchType, text, options)
	} else {
		_, err = client.AppsV1().Deployments(o.namespace).Patch(o.t.Context(), "shop", types.ApplyPatchType, text, options)
	}
	return err
}

// read returns the number, and the managed fields.
func (o managedObject) read() (number int32, fields []metav1.ManagedFieldsEntry) {
	o.t.Helper()
	if o.autoscaled {
		h, err := client.AutoscalingV2().HorizontalPodAutoscalers(o.namespace).Get(o.t.Context(), "shop", metav1.GetOptions{})
		if err != nil {
			o.t.Fatal(err)
		}
		return *h.Spec.MinReplicas, h.ManagedFields
	}
	d, err := client.AppsV1().Deployments(o.namespace).Get(o.t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		o.t.Fatal(err)
	}
	return *d.Spec.Replicas, d.ManagedFields
}

// listOwners lists the field managers of the number, without those of the status.
func (o managedObject) listOwners() (owners []string) {
	_, fields := o.read()
	for _, m := range fields {
		var set struct {
			Spec map[string]any `json:"f:spec"`
		}
		if err := json.Unmarshal(m.FieldsV1.GetRawBytes(), &set); err != nil {
			o.t.Fatal(err)
		}
		if _, owns := set.Spec["f:"+o.numberField()]; owns && m.Subresource != "status" {
			owners = append(owners, m.Manager)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(owners)))
}

var fencePattern = regexp.MustCompile("(?s)```yaml (argo-cd|flux)\n(.*?)```")

// readRecipe decodes the recipe for a tool, as docs/scaler-reference.md has it.
func readRecipe(t *testing.T, tool string, to any) {
	t.Helper()
	root, err := stack.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "scaler-reference.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fence := range fencePattern.FindAllStringSubmatch(string(page), -1) {
		if fence[1] == tool {
			if err := yaml.UnmarshalStrict([]byte(fence[2]), to); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("docs/scaler-reference.md has no recipe for %s", tool)
}

// argoApplication is the part of an Application of Argo CD that the recipe sets.
type argoApplication struct {
	Spec struct {
		IgnoreDifferences []struct {
			Group, Kind           string
			ManagedFieldsManagers []string `json:"managedFieldsManagers"`
		} `json:"ignoreDifferences"`
		SyncPolicy struct {
			SyncOptions []string `json:"syncOptions"`
		} `json:"syncPolicy"`
	} `json:"spec"`
}

// sync returns the manifest that Argo CD applies: with RespectIgnoreDifferences=true, ignored fields have the values of the cluster.
func (a argoApplication) sync(o managedObject, number int32) map[string]any {
	live, fields := o.read()
	group, kind := map[bool][2]string{true: {"autoscaling", "HorizontalPodAutoscaler"}, false: {"apps", "Deployment"}}[o.autoscaled][0], o.manifest(0)["kind"]
	for _, rule := range a.Spec.IgnoreDifferences {
		if rule.Group != "*" && rule.Group != group || rule.Kind != "*" && rule.Kind != kind || !slices.Contains(a.Spec.SyncPolicy.SyncOptions, "RespectIgnoreDifferences=true") {
			continue
		}
		for _, m := range fields {
			if slices.Contains(rule.ManagedFieldsManagers, m.Manager) && strings.Contains(string(m.FieldsV1.GetRawBytes()), `"f:`+o.numberField()+`"`) {
				number = live
			}
		}
	}
	return o.manifest(number)
}

// TestGitOps: the recipes of docs/scaler-reference.md, carried out as the page has them, with the shipped rights of the scaler. The tools apply by force, as they do:
// the hold keeps its number, the number of Git returns after it, and the tool owns it again with its next apply.
func TestGitOps(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	var argo argoApplication
	readRecipe(t, "argo-cd", &argo)
	var flux struct{ Metadata metav1.ObjectMeta }
	readRecipe(t, "flux", &flux)
	if ssa := flux.Metadata.Annotations; len(ssa) != 1 || ssa["kustomize.toolkit.fluxcd.io/ssa"] != "IfNotPresent" {
		t.Fatalf("the recipe for Flux has the annotations %v", ssa)
	}
	for name, autoscaled := range map[string]bool{"autoscaled": true, "plain": false} {
		t.Run("Argo CD, "+name, func(t *testing.T) {
			t.Parallel()
			checkGitOps(t, autoscaled, "argocd-controller", argo.sync)
		})
		t.Run("Flux, "+name, func(t *testing.T) { // with IfNotPresent it applies nothing to an object that is there
			t.Parallel()
			checkGitOps(t, autoscaled, "kustomize-controller", func(managedObject, int32) map[string]any { return nil })
		})
	}
}

// newHeldObject returns an object that a field manager owns, and an engine with the shipped rights that can hold it.
func newHeldObject(t *testing.T, autoscaled bool, manager string) (managedObject, workloadEngine) {
	t.Helper()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, autoscaled)
	o := managedObject{t, namespace, autoscaled}
	if err := o.apply(manager, o.manifest(2), true); err != nil {
		t.Fatal(err)
	}
	if owners := o.listOwners(); !slices.Contains(owners, manager) {
		t.Fatalf("%s owns the number before the hold, not %s", owners, manager)
	}
	return o, newEngineAs(t, workload, &heard{}, installScalerRights(t, namespace))
}

// checkGitOps holds an object that a tool owns, and has the tool sync twice meanwhile, and after it.
func checkGitOps(t *testing.T, autoscaled bool, manager string, sync func(o managedObject, number int32) map[string]any) {
	t.Helper()
	o, e := newHeldObject(t, autoscaled, manager)
	e.holdSale()
	for range 2 {
		if manifest := sync(o, 2); manifest != nil {
			if err := o.apply(manager, manifest, true); err != nil {
				t.Fatal(err)
			}
		}
		e.drive(settled)
		if number, _ := o.read(); number != 20 {
			t.Fatalf("%d replicas during the hold, want 20", number)
		}
	}
	e.releaseSale()
	if number, _ := o.read(); number != 2 {
		t.Errorf("%d replicas after the hold, want 2", number)
	}
	if err := o.apply(manager, o.manifest(2), false); err != nil {
		t.Errorf("the next apply of the same manifest: %v", err)
	}
	if owners := o.listOwners(); !slices.Contains(owners, manager) || autoscaled && slices.Contains(owners, hold.Manager) {
		t.Errorf("owners after the hold: %v; want %s", owners, manager)
	}
}

// TestOwnershipInHold: with the shipped rights, another field manager applies another number, or the same one, in a hold. Not forced, another number is a conflict
// that names the scaler; forced, it is a manual change that stays.
func TestOwnershipInHold(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	managers := map[string]string{"Argo CD": "argocd-controller", "Flux": "kustomize-controller", "Helm 4": "helm"}
	for _, tool := range slices.Sorted(maps.Keys(managers)) {
		for _, autoscaled := range []bool{true, false} {
			for _, force := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, autoscaled %v, forced %v", tool, autoscaled, force), func(t *testing.T) {
					t.Parallel()
					checkOwnershipInHold(t, managers[tool], autoscaled, force)
				})
			}
		}
	}
}

func checkOwnershipInHold(t *testing.T, manager string, autoscaled, force bool) {
	t.Helper()
	o, e := newHeldObject(t, autoscaled, manager)
	e.holdSale()
	err := o.apply(manager, o.manifest(5), force)
	if force != (err == nil) || err != nil && (!strings.Contains(err.Error(), `conflict with "`+hold.Manager+`"`) || !strings.Contains(err.Error(), ".spec."+o.numberField())) {
		t.Fatalf("apply of another number, forced %v: %v", force, err)
	}
	e.drive(settled)
	during, after := int32(20), int32(2)
	if force {
		during, after = 5, 5
	}
	if number, _ := o.read(); number != during {
		t.Errorf("%d replicas during the hold, want %d", number, during)
	}
	e.releaseSale()
	if number, _ := o.read(); number != after {
		t.Errorf("%d replicas after the hold, want %d", number, after)
	}
	if err := o.apply(manager, o.manifest(after), false); err != nil {
		t.Errorf("the next apply: %v", err)
	}
	if owners := o.listOwners(); !slices.Contains(owners, manager) || (autoscaled || force) && slices.Contains(owners, hold.Manager) {
		t.Errorf("owners after the hold: %v; want %s", owners, manager)
	}
	checkChangedNumber(t, o, manager, autoscaled || force)
}

// checkChangedNumber applies another number after the hold. Where the scaler stays a field manager, because it may not patch the workload, the Event OwnershipKept
// says so, and the apply needs force.
func checkChangedNumber(t *testing.T, o managedObject, manager string, isClean bool) {
	t.Helper()
	err := o.apply(manager, o.manifest(3), false)
	if isClean != (err == nil) {
		t.Errorf("another number after the hold: %v", err)
	}
	if isClean {
		return
	}
	eventEventually(t, o.namespace, "OwnershipKept", "force")
	if err := o.apply(manager, o.manifest(3), true); err != nil {
		t.Errorf("forced: %v", err)
	}
	if owners := o.listOwners(); !slices.Equal(owners, []string{manager}) {
		t.Errorf("owners after the forced apply: %v", owners)
	}
}
