package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/doctor"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/podtls"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// breakage is a way in which a newcomer's autoscaler does not work, and the words of doctor for it.
type breakage struct {
	spoil              func(t *testing.T, namespace string, k *kubelet)
	check              string
	status             doctor.Status
	says, mendedByWhat string
}

// breakages are those that need the real API server, HPA controller and adapter, and pages that the test ends itself. Rights have a test of their
// own. The others are in test/e2e.
var breakages = map[string]breakage{
	"stale": {
		func(t *testing.T, namespace string, k *kubelet) {
			eventually(t, 20*time.Second, func(ctx context.Context) error {
				found, err := admin.values(ctx, podsPath(namespace, requests, "app=web", ""))
				if err == nil && len(found) != 2 {
					err = fmt.Errorf("values %v", found)
				}
				return err
			})
			k.mu.Lock()
			defer k.mu.Unlock()
			for _, p := range k.pages {
				p.close()
			}
		},
		"metric", doctor.StatusFail, "2 pods: 2 ", "/proxy/metrics",
	},
	"typo-in-the-family": { // which a pattern would serve
		func(t *testing.T, namespace string, _ *kubelet) {
			const patch = `[{"op":"replace","path":"/spec/metrics/0/pods/metric","value":{"name":"http_request_per_second"}}]`
			_, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Patch(t.Context(), "web", types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
		},
		"metric", doctor.StatusFail, "on its page); nearest on the pages: http_requests_per_second", "kubectl tachometer metrics deployment/web",
	},
}

// newDoctorOptions returns what `kubectl tachometer doctor hpa/web` runs with.
func newDoctorOptions(t *testing.T, namespace string) doctor.Options {
	t.Helper()
	own, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	reader, err := reading.NewRESTReader(own)
	if err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(own)
	config.Impersonate = doctor.ImpersonateHPAController()
	controller, err := reading.NewRESTReader(config)
	if err != nil {
		t.Fatal(err)
	}
	return doctor.Options{
		Client: client, Controller: controller, Metrics: reading.MetricReader{Reader: reader, Mapper: kube.NewLazyRESTMapper(client.Discovery())},
		Certificates: podtls.Reader{Config: own, Client: client}, Namespace: namespace, HPA: "web", Now: time.Now,
	}
}

// findAutoscalerFault returns the first fault of the autoscaler. The adapter is no pod here, so that hops before it fail.
func findAutoscalerFault(report *doctor.Report, namespace string) *doctor.Check {
	own := &doctor.Report{}
	for _, c := range report.Checks {
		if c.Subject == namespace+"/web" {
			own.Checks = append(own.Checks, c)
		}
	}
	return own.First()
}

// TestBreakages: doctor names each breakage first, with the command that mends it; without one it finds nothing.
func TestBreakages(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	for name, b := range breakages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t)
			k := newKubelet(t, namespace)
			k.load.Store(3000)
			newScaled(t, namespace)
			b.spoil(t, namespace, k)
			eventually(t, 60*time.Second, func(ctx context.Context) error {
				found := findAutoscalerFault(doctor.Run(ctx, newDoctorOptions(t, namespace)), namespace)
				if found == nil || found.Name != b.check || found.Status != b.status || !strings.Contains(found.Message, b.says) || !strings.Contains(found.Fix, b.mendedByWhat) {
					return fmt.Errorf("the first fault is %+v", found)
				}
				return nil
			})
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		namespace := newNamespace(t)
		k := newKubelet(t, namespace)
		k.load.Store(3000)
		newScaled(t, namespace)
		eventually(t, 60*time.Second, func(ctx context.Context) error {
			if found := findAutoscalerFault(doctor.Run(ctx, newDoctorOptions(t, namespace)), namespace); found != nil {
				return fmt.Errorf("a fault without a breakage: %+v", found)
			}
			return nil
		})
	})
}

// TestMissingRights: doctor names the right that the HPA controller lacks. It is not parallel: the controller reads no metric meanwhile.
func TestMissingRights(t *testing.T) {
	requireCluster(t)
	namespace := newNamespace(t)
	newScaled(t, namespace)
	roles := client.RbacV1().ClusterRoles()
	whole, err := roles.Get(t.Context(), "system:controller:horizontal-pod-autoscaler", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	restore := func(rules []rbacv1.PolicyRule) error {
		role, err := roles.Get(context.Background(), whole.Name, metav1.GetOptions{})
		if err == nil {
			role.Rules = rules
			_, err = roles.Update(context.Background(), role, metav1.UpdateOptions{})
		}
		return err
	}
	var narrow []rbacv1.PolicyRule
	for _, rule := range whole.Rules {
		if len(rule.APIGroups) == 0 || !strings.HasSuffix(rule.APIGroups[0], "metrics.k8s.io") {
			narrow = append(narrow, rule)
		}
	}
	if len(narrow) == len(whole.Rules) {
		t.Fatalf("no rule for metrics in %+v", whole.Rules)
	}
	t.Cleanup(func() {
		if err := restore(whole.Rules); err != nil {
			t.Errorf("give the rights back: %v", err)
		}
	})
	if err := restore(narrow); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		for _, c := range doctor.Run(ctx, newDoctorOptions(t, namespace)).Checks {
			if c.Name == "rights" && c.Status == doctor.StatusFail && strings.Contains(c.Message, "may not get custom.metrics.k8s.io in "+namespace) &&
				strings.HasPrefix(c.Fix, "kubectl create clusterrolebinding hpa-metrics") {
				return nil
			}
		}
		return fmt.Errorf("no missing right among the checks")
	})
}
