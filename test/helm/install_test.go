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
	"helm.sh/helm/v4/pkg/chart/common"
	v4chart "helm.sh/helm/v4/pkg/chart/v2"
	v4loader "helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/kube"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
)

const namespace = "monitoring"

// TestRelease installs each chart on a real API server, upgrades it, rolls it back and uninstalls it.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short leaves out the test on a local Kubernetes")
	}
	c := startControlPlane(t)
	t.Run("adapter", func(t *testing.T) { testAdapterRelease(t, c) })
	t.Run("back to prometheus-adapter", func(t *testing.T) { testWayBack(t, c) })
	t.Run("scaler", func(t *testing.T) { testScalerRelease(t, c) })
}

// testAdapterRelease writes, between the steps, what the adapter writes, which neither the upgrade nor the rollback may take away.
func testAdapterRelease(t *testing.T, c *cluster.Cluster) {
	before := listClusterObjects(t, c)
	r := helmRelease{config: newHelmConfiguration(t, c), name: "web"}
	r.install(t, loadChart(t, "tachometer-adapter"), nil)
	kubectl(t, c, "-n", namespace, "patch", "secret", "web-tachometer-adapter-cert", "-p", `{"stringData":{"tls.crt":"CERTIFICATE"}}`)
	kubectl(t, c, "patch", "apiservice", "v1beta2.custom.metrics.k8s.io", "--type=merge", "-p", `{"spec":{"caBundle":"Q0E="}}`)

	r.upgrade(t, loadChart(t, "tachometer-adapter"), map[string]any{"replicas": 3, "resourceMetrics": map[string]any{"enabled": true}})
	expectReplicas(t, c, "web-tachometer-adapter", "3")
	expectWritten(t, c)

	r.rollback(t)
	expectReplicas(t, c, "web-tachometer-adapter", "2")
	expectWritten(t, c)

	r.uninstall(t)
	expectNothingLeft(t, c, before)
}

// testWayBack leaves a chart whose APIService trusts any server, as prometheus-adapter's does, and goes back by the commands of
// docs/migration.md. Kubernetes rejects that trust beside the caBundle that the adapter wrote.
func testWayBack(t *testing.T, c *cluster.Cluster) {
	const name, trust = "v1beta2.custom.metrics.k8s.io", `{"spec":{"insecureSkipTLSVerify":true}}`
	r := helmRelease{config: newHelmConfiguration(t, c), name: "web"}
	r.install(t, &v4chart.Chart{
		Metadata: &v4chart.Metadata{APIVersion: "v2", Name: "prometheus-adapter", Version: "1.0.0"},
		Templates: []*common.File{{Name: "templates/apiservice.yaml", Data: []byte(`
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: ` + name + `}
spec:
  {group: custom.metrics.k8s.io, version: v1beta2, groupPriorityMinimum: 100, versionPriority: 200, insecureSkipTLSVerify: true, service: {name: old, namespace: monitoring}}
`)}},
	}, nil)
	r.upgrade(t, loadChart(t, "tachometer-adapter"), nil)
	kubectl(t, c, "patch", "apiservice", name, "--type=merge", "-p", `{"spec":{"caBundle":"Q0E="}}`)
	if out, err := c.Kubectl(t.Context(), "patch", "apiservice", name, "--type=merge", "-p", trust); err == nil {
		t.Fatalf("the APIService trusts any server beside a caBundle: docs/migration.md need not delete it\n%s", out)
	}
	kubectl(t, c, "delete", "apiservices", "-l", "app.kubernetes.io/instance=web")
	r.rollback(t)
	if got := kubectl(t, c, "get", "apiservice", name, "-o", "jsonpath={.spec.insecureSkipTLSVerify} {.spec.service.name}"); got != "true old" {
		t.Errorf("the APIService is %q after the rollback, want the old one", got)
	}
	r.uninstall(t)
}

// testScalerRelease begins with a chart whose definition of Hold lacks a field. The upgrade brings the field; the uninstall keeps the
// definition and a Hold, and a new install takes both over.
func testScalerRelease(t *testing.T, c *cluster.Cluster) {
	before := listClusterObjects(t, c)
	kubectl(t, c, "create", "namespace", "shop")
	r := helmRelease{config: newHelmConfiguration(t, c), name: "web"}
	r.install(t, loadOlderScalerChart(t), nil)
	kubectl(t, c, "wait", "--for=condition=Established", "--timeout=30s", "crd/holds.scaler.tachometer.dev")
	applyHold(t, c)

	values := map[string]any{"replicas": 3, "workloads": map[string]any{"namespaces": []any{"shop"}}}
	r.upgrade(t, loadChart(t, "tachometer-scaler"), values)
	expectReplicas(t, c, "web-tachometer-scaler", "3")
	kubectl(t, c, "-n", "shop", "get", "rolebinding", "web-tachometer-scaler")
	expectPausedField(t, c, "boolean")

	r.rollback(t)
	expectReplicas(t, c, "web-tachometer-scaler", "2")
	expectPausedField(t, c, "")

	r.uninstall(t)
	kubectl(t, c, "-n", "shop", "get", "hold", "launch")
	r.install(t, loadChart(t, "tachometer-scaler"), nil)
	expectPausedField(t, c, "boolean")
	kubectl(t, c, "-n", "shop", "get", "hold", "launch")

	r.uninstall(t)
	kubectl(t, c, "delete", "crd", "holds.scaler.tachometer.dev")
	expectNothingLeft(t, c, before)
}

// loadOlderScalerChart returns the scaler's chart as before the field paused.
func loadOlderScalerChart(t *testing.T) *v4chart.Chart {
	t.Helper()
	older := loadChart(t, "tachometer-scaler")
	for _, file := range older.Files {
		if file.Name == "files/crd.yaml" {
			lines := slices.DeleteFunc(strings.Split(string(file.Data), "\n"), func(line string) bool {
				return strings.HasPrefix(strings.TrimSpace(line), "paused:")
			})
			file.Data = []byte(strings.Join(lines, "\n"))
		}
	}
	return older
}

func applyHold(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	err := c.Apply(t.Context(), `
apiVersion: scaler.tachometer.dev/v1alpha1
kind: Hold
metadata: {name: launch, namespace: shop}
spec:
  workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  replicas: 20
`)
	if err != nil {
		t.Fatal(err)
	}
}

// expectPausedField expects the type of spec.paused in the definition of Hold; "": no such field.
func expectPausedField(t *testing.T, c *cluster.Cluster, want string) {
	t.Helper()
	const path = "jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.paused.type}"
	if got := kubectl(t, c, "get", "crd", "holds.scaler.tachometer.dev", "-o", path); got != want {
		t.Errorf("the type of spec.paused is %q, want %q", got, want)
	}
}

// helmRelease is a release on the control plane.
type helmRelease struct {
	config *action.Configuration
	name   string
}

func (r helmRelease) install(t *testing.T, chart *v4chart.Chart, values map[string]any) {
	t.Helper()
	install := action.NewInstall(r.config)
	install.ReleaseName, install.Namespace, install.CreateNamespace, install.WaitStrategy = r.name, namespace, true, kube.HookOnlyStrategy
	if _, err := install.Run(chart, values); err != nil {
		t.Fatalf("install: %v", err)
	}
}

func (r helmRelease) upgrade(t *testing.T, chart *v4chart.Chart, values map[string]any) {
	t.Helper()
	upgrade := action.NewUpgrade(r.config)
	upgrade.Namespace, upgrade.WaitStrategy = namespace, kube.HookOnlyStrategy
	if _, err := upgrade.Run(r.name, chart, values); err != nil {
		t.Fatalf("upgrade: %v", err)
	}
}

func (r helmRelease) rollback(t *testing.T) {
	t.Helper()
	rollback := action.NewRollback(r.config)
	rollback.WaitStrategy = kube.HookOnlyStrategy
	if err := rollback.Run(r.name); err != nil {
		t.Fatalf("rollback: %v", err)
	}
}

func (r helmRelease) uninstall(t *testing.T) {
	t.Helper()
	uninstall := action.NewUninstall(r.config)
	uninstall.WaitStrategy = kube.HookOnlyStrategy
	if _, err := uninstall.Run(r.name); err != nil {
		t.Fatalf("uninstall: %v", err)
	}
}

// expectNothingLeft expects the cluster's objects from before the install, and nothing in the release's namespace.
func expectNothingLeft(t *testing.T, c *cluster.Cluster, before []string) {
	t.Helper()
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

func loadChart(t *testing.T, name string) *v4chart.Chart {
	t.Helper()
	c, err := v4loader.Load(chartFolder(name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func kubectl(t *testing.T, c *cluster.Cluster, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func expectReplicas(t *testing.T, c *cluster.Cluster, deployment, want string) {
	t.Helper()
	if got := kubectl(t, c, "-n", namespace, "get", "deployment", deployment, "-o", "jsonpath={.spec.replicas}"); got != want {
		t.Errorf("%s has %s replicas, want %s", deployment, got, want)
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

// listClusterObjects returns the names of the cluster's objects of the kinds that the charts have.
func listClusterObjects(t *testing.T, c *cluster.Cluster) []string {
	t.Helper()
	names := map[string]bool{}
	for _, args := range [][]string{{"get", "clusterrole,clusterrolebinding,apiservice,crd", "-o", "name"}, {"-n", "kube-system", "get", "rolebinding", "-o", "name"}} {
		for _, name := range strings.Fields(kubectl(t, c, args...)) {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
