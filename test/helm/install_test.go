package helm

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/action"
	v4loader "helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/kube"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
)

const namespace = "monitoring"

// TestRelease installs the adapter's chart on a real API server, upgrades it, rolls it back and uninstalls it. In between it writes what
// the adapter writes, which neither the upgrade nor the rollback may take away.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short leaves out the test on a local Kubernetes")
	}
	c := startControlPlane(t)
	before := listClusterObjects(t, c)
	config := newHelmConfiguration(t, c)

	install := action.NewInstall(config)
	install.ReleaseName, install.Namespace, install.CreateNamespace, install.WaitStrategy = "web", namespace, true, kube.HookOnlyStrategy
	runRelease(t, "install", func() error { _, err := install.Run(loadChart(t), nil); return err })
	kubectl(t, c, "-n", namespace, "patch", "secret", "web-tachometer-adapter-cert", "-p", `{"stringData":{"tls.crt":"CERTIFICATE"}}`)
	kubectl(t, c, "patch", "apiservice", "v1beta2.custom.metrics.k8s.io", "--type=merge", "-p", `{"spec":{"caBundle":"Q0E="}}`)

	upgrade := action.NewUpgrade(config)
	upgrade.Namespace, upgrade.WaitStrategy = namespace, kube.HookOnlyStrategy
	runRelease(t, "upgrade", func() error {
		_, err := upgrade.Run("web", loadChart(t), map[string]any{"replicas": 3, "resourceMetrics": map[string]any{"enabled": true}})
		return err
	})
	expectReplicas(t, c, "3")
	expectWritten(t, c)

	rollback := action.NewRollback(config)
	rollback.WaitStrategy = kube.HookOnlyStrategy
	runRelease(t, "rollback", func() error { return rollback.Run("web") })
	expectReplicas(t, c, "2")
	expectWritten(t, c)

	uninstall := action.NewUninstall(config)
	uninstall.WaitStrategy = kube.HookOnlyStrategy
	runRelease(t, "uninstall", func() error { _, err := uninstall.Run("web"); return err })
	if diff := cmp.Diff(before, listClusterObjects(t, c)); diff != "" {
		t.Errorf("objects before the install and after the uninstall (-before +after):\n%s", diff)
	}
	left := kubectl(t, c, "-n", namespace, "get", "all,configmap,secret,serviceaccount,role,rolebinding,pdb,networkpolicy", "-o", "name")
	left = strings.Join(slices.DeleteFunc(strings.Fields(left), func(name string) bool {
		return name == "configmap/kube-root-ca.crt" || name == "serviceaccount/default"
	}), " ")
	if left != "" {
		t.Errorf("left in the namespace: %s", left)
	}
}

func startControlPlane(t *testing.T) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Options{Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func newHelmConfiguration(t *testing.T, c *cluster.Cluster) *action.Configuration {
	t.Helper()
	settings := cli.New()
	settings.KubeConfig = c.Kubeconfig()
	settings.SetNamespace(namespace)
	config := action.NewConfiguration()
	if err := config.Init(settings.RESTClientGetter(), namespace, "secret"); err != nil {
		t.Fatal(err)
	}
	return config
}

func loadChart(t *testing.T) any {
	t.Helper()
	c, err := v4loader.Load(chartFolder("tachometer-adapter"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func runRelease(t *testing.T, step string, run func() error) {
	t.Helper()
	if err := run(); err != nil {
		t.Fatalf("%s: %v", step, err)
	}
}

func kubectl(t *testing.T, c *cluster.Cluster, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func expectReplicas(t *testing.T, c *cluster.Cluster, want string) {
	t.Helper()
	if got := kubectl(t, c, "-n", namespace, "get", "deployment", "web-tachometer-adapter", "-o", "jsonpath={.spec.replicas}"); got != want {
		t.Errorf("%s replicas, want %s", got, want)
	}
}

// expectWritten expects the certificate and the caBundle that the adapter wrote.
func expectWritten(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if got := kubectl(t, c, "-n", namespace, "get", "secret", "web-tachometer-adapter-cert", "-o", `jsonpath={.data.tls\.crt}`); got != "Q0VSVElGSUNBVEU=" {
		t.Errorf("the Secret's certificate is %q after the change", got)
	}
	if got := kubectl(t, c, "get", "apiservice", "v1beta2.custom.metrics.k8s.io", "-o", "jsonpath={.spec.caBundle}"); got != "Q0E=" {
		t.Errorf("the APIService's caBundle is %q after the change", got)
	}
}

// listClusterObjects returns the names of the cluster's objects of the kinds that the chart has.
func listClusterObjects(t *testing.T, c *cluster.Cluster) []string {
	t.Helper()
	names := map[string]bool{}
	for _, args := range [][]string{{"get", "clusterrole,clusterrolebinding,apiservice", "-o", "name"}, {"-n", "kube-system", "get", "rolebinding", "-o", "name"}} {
		for _, name := range strings.Fields(kubectl(t, c, args...)) {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
