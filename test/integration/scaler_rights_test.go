package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// applyScalerRoles applies the shipped roles once: two at the same time would create them twice.
var applyScalerRoles = sync.OnceValue(func() error {
	root, err := stack.Root(context.Background())
	if err != nil {
		return err
	}
	roles, err := os.ReadFile(filepath.Join(root, "manifests", "scaler", "base", "rbac.yaml"))
	if err != nil {
		return err
	}
	return shared.Apply(context.Background(), string(roles))
})

// installScalerRights applies the shipped roles, binds them in the namespace, and returns a kubeconfig with them.
func installScalerRights(t *testing.T, namespace string) (kubeconfig string) {
	t.Helper()
	if err := applyScalerRoles(); err != nil {
		t.Fatal(err)
	}
	_, err := client.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "scaler"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "tachometer-scaler-workloads"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: stack.AdapterNamespace, Name: "tachometer-scaler"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := stack.WriteKubeconfig(t.Context(), shared, "tachometer-scaler", kubeconfig); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// newStatefulSet creates the StatefulSet db of one pod.
func newStatefulSet(t *testing.T, namespace string) {
	t.Helper()
	labels := map[string]string{"app": "db"}
	_, err := client.AppsV1().StatefulSets(namespace).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec()},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// holdsAreGone waits until the namespace has no Hold.
func holdsAreGone(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, time.Minute, func(ctx context.Context) error {
		out, err := shared.Kubectl(ctx, "-n", namespace, "get", "holds", "-o", "name")
		if err == nil && len(out) > 0 {
			err = errors.New(string(out))
		}
		return err
	})
}

// eventIDsVersion waits until the ids of events are stored in another version than before, and returns that version.
func eventIDsVersion(t *testing.T, before string) (version string) {
	t.Helper()
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		m, err := client.CoreV1().ConfigMaps(stack.AdapterNamespace).Get(ctx, "tachometer-scaler-events", metav1.GetOptions{})
		if err == nil && m.ResourceVersion == before {
			err = errors.New("the ids of events are those of before")
		}
		if err == nil {
			version = m.ResourceVersion
		}
		return err
	})
	return version
}

// TestScalerRights: with its shipped roles the scaler holds both kinds of workloads for a schedule and an event, and gives back what was
// there. check finds nothing missing, and TestMain compares the requests with the roles.
func TestScalerRights(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	newStatefulSet(t, namespace)
	before := mustReadWorld(t, namespace)
	kubeconfig, program := installScalerRights(t, namespace), buildScaler(t)
	config := strings.Replace(saleConfig, "workloads: [deploy/shop]", "workloads: [deploy/shop, sts/db]", 1)
	s := startScalerAs(t, program, stack.AdapterNamespace, namespace, config, kubeconfig)
	awaitMinReplicas(t, namespace, 4)
	eventually(t, time.Minute, func(ctx context.Context) error {
		set, err := client.AppsV1().StatefulSets(namespace).Get(ctx, "db", metav1.GetOptions{})
		if err == nil && *set.Spec.Replicas != 4 {
			err = fmt.Errorf("the StatefulSet has %d replicas, want 4", *set.Spec.Replicas)
		}
		return err
	})
	check := exec.CommandContext(t.Context(), program, "check", "--config="+s.config, "--kubeconfig="+shared.Kubeconfig(), "--as="+scalerUser, "--lease-namespace="+stack.AdapterNamespace)
	if out, err := check.CombinedOutput(); err != nil || strings.Contains(string(out), "MISSING") {
		t.Errorf("%v: %s", err, out)
	}
	if err := s.post(t.Context(), "one", "START"); err != nil {
		t.Fatal(err)
	}
	awaitMinReplicas(t, namespace, 9)
	first := eventIDsVersion(t, "")
	if err := s.post(t.Context(), "one-end", "END"); err != nil {
		t.Fatal(err)
	}
	awaitMinReplicas(t, namespace, 4)
	eventIDsVersion(t, first)
	s.configure(t, "apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\n")
	holdsAreGone(t, namespace)
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		now, err := readWorld(ctx, namespace)
		now.Owned = false // of the replicas: their field manager stays without the right to patch the workload
		if diff := cmp.Diff(before, now); err == nil && diff != "" {
			err = errors.New("not what was there (-want +got):\n" + diff)
		}
		return err
	})
	events, err := client.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=OwnershipKept"})
	if err != nil || len(events.Items) == 0 {
		t.Errorf("no Event says that the scaler stays a field manager of the replicas: %v", err)
	}
	h, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(h.ManagedFields, func(m metav1.ManagedFieldsEntry) bool { return m.Manager == hold.Manager }) {
		t.Errorf("the scaler stays a field manager of the autoscaler: %v", h.ManagedFields)
	}
}

// TestScalerPause: pause gives back what was there, resume asks for it again, and both survive the program.
func TestScalerPause(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	c := &commandRun{t: t, program: buildScaler(t), namespace: namespace}
	startScaler(t, c.program, namespace)
	awaitMinReplicas(t, namespace, 4)
	for _, step := range []struct {
		args        []string
		minReplicas int32
	}{
		{[]string{"pause", "deployments.apps", "shop", "--for", "1d"}, 2},
		{[]string{"resume", "deployment.apps/shop"}, 4},
	} {
		c.want(0, "", step.args...)
		awaitMinReplicas(t, namespace, step.minReplicas)
	}
}
