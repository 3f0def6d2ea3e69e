package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// scalableKind is a small definition of a kind with a scale and a short name, written for this test.
const scalableKind = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: fleets.flags.example}
spec:
  group: flags.example
  scope: Namespaced
  names: {kind: Fleet, listKind: FleetList, plural: fleets, singular: fleet, shortNames: [fl]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {replicas: {type: integer}}}
          status: {type: object, properties: {replicas: {type: integer}, selector: {type: string}}}
`

// commandRun runs tachometer-scaler in a namespace.
type commandRun struct {
	t                  *testing.T
	program, namespace string
	env                []string // instead of --kubeconfig and --namespace
	more               []string // further arguments of each run
}

func (c *commandRun) run(args ...string) (out, errs string, code int) {
	c.t.Helper()
	args = slices.Concat(args, c.more)
	if c.env == nil {
		args = append(args, "--kubeconfig", shared.Kubeconfig(), "-n", c.namespace)
	}
	cmd := exec.CommandContext(c.t.Context(), c.program, args...)
	cmd.Env = append(os.Environ(), c.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// want runs a command, and compares its exit code and a part of what it prints.
func (c *commandRun) want(code int, part string, args ...string) (out string) {
	c.t.Helper()
	out, errs, got := c.run(args...)
	if got != code || !strings.Contains(out+errs, part) {
		c.t.Errorf("%v: exit code %d; want %d and %q:\n%s%s", args, got, code, part, out, errs)
	}
	return out
}

// TestWorkloadNames: a real API server resolves each way to name a workload: kinds, plurals, short names, groups and versions, also of a custom resource.
func TestWorkloadNames(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newDeployment(t, namespace, "shop", 2, podSpec())
	newStatefulSet(t, namespace)
	if err := shared.Apply(t.Context(), scalableKind); err != nil {
		t.Fatal(err)
	}
	fleet := "apiVersion: flags.example/v1\nkind: Fleet\nmetadata: {name: web, namespace: " + namespace + "}\nspec: {replicas: 2}\n"
	eventually(t, 30*time.Second, func(ctx context.Context) error { return shared.Apply(ctx, fleet) })
	c := &commandRun{t: t, program: buildScaler(t), namespace: namespace}
	for _, name := range []string{
		"deploy/shop", "deployment/shop", "deployments/shop", "Deployment/shop", "deployment.apps/shop", "deployments.v1.apps/shop", "apps/v1/Deployment/shop", "deploy shop", "deployments.apps shop",
		"sts/db", "statefulset.apps/db", "statefulsets db",
		"fl/web", "fleet/web", "fleets.flags.example/web", "fleets.v1.flags.example/web", "flags.example/v1/Fleet/web", "fl web",
	} {
		c.want(0, "would set 5 replicas", append(append([]string{"set"}, strings.Fields(name)...), "--replicas=5", "--dry-run=server")...)
	}
	c.want(2, `no type "depoly"`, "set", "depoly/shop", "--replicas=5")
	c.want(2, "serves Fleet of flags.example in version v1, not in v2", "set", "fleets.v2.flags.example/web", "--replicas=5")
	c.want(2, "its resource has no scale", "set", "cm/kube-root-ca.crt", "--replicas=5")
	c.want(1, "does not exist; the namespace has the fleets web", "set", "fl/shop", "--replicas=5")
	c.want(0, "5 replicas", "set", "fl/web", "--replicas=5")
	if out, err := shared.Kubectl(t.Context(), "-n", namespace, "get", "fleet", "web", "-o", "jsonpath={.spec.replicas}"); err != nil || string(out) != "5" {
		t.Errorf("the custom resource has %s replicas, %v", out, err)
	}
	c.want(0, "", "release", "fleets.flags.example", "web")
	if out, err := shared.Kubectl(t.Context(), "-n", namespace, "get", "fleet", "web", "-o", "jsonpath={.spec.replicas}"); err != nil || string(out) != "2" {
		t.Errorf("the custom resource has %s replicas after the hold, %v", out, err)
	}
}

// TestFormatsAndDryRun: kubectl takes what -o yaml, json and name print; --dry-run=server asks the real API server, and stores nothing.
func TestFormatsAndDryRun(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	c := &commandRun{t: t, program: buildScaler(t), namespace: namespace}
	fromGit := c.want(0, "", "set", "deploy/shop", "--replicas=6", "--for=1d2h", "--reason=launch", "--dry-run=server", "-o=yaml")
	if _, err := shared.Kubectl(t.Context(), "-n", namespace, "create", "quota", "none", "--hard=count/holds.scaler.tachometer.dev=0"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func(context.Context) error { // the API server does not see a new quota at once
		if out, errs, code := c.run("set", "deploy/shop", "--replicas=6", "--dry-run=server"); code != 1 || !strings.Contains(errs, "is forbidden") || !strings.Contains(errs, "quota") {
			return fmt.Errorf("beside a quota of 0 Holds: exit code %d: %s%s", code, out, errs)
		}
		return nil
	})
	c.want(0, "would set 6 replicas", "set", "deploy/shop", "--replicas=6", "--dry-run=client")
	if _, err := shared.Kubectl(t.Context(), "-n", namespace, "delete", "quota", "none"); err != nil {
		t.Fatal(err)
	}
	holdsAreGone(t, namespace)
	wantWorld(t, namespace, before)
	if err := shared.Apply(t.Context(), fromGit); err != nil { // it names its namespace
		t.Errorf("kubectl apply of\n%s: %v", fromGit, err)
	}
	for format, decode := range map[string]func([]byte, any) error{"json": json.Unmarshal, "yaml": func(data []byte, to any) error { return yaml.Unmarshal(data, to) }} {
		var list struct{ Items []hold.Object }
		out := c.want(0, "launch", "status", "deploy/shop", "-o", format)
		if err := decode([]byte(out), &list); err != nil || len(list.Items) != 1 || list.Items[0].Spec.Replicas != 6 {
			t.Errorf("-o %s: %v\n%s", format, err, out)
		}
	}
	name := strings.TrimSpace(c.want(0, "hold.scaler.tachometer.dev/", "status", "-o=name"))
	if out, err := shared.Kubectl(t.Context(), "-n", namespace, "get", name, "-o", "jsonpath={.spec.replicas}"); err != nil || string(out) != "6" {
		t.Errorf("kubectl get %s: %s, %v", name, out, err)
	}
	c.want(0, "GATES", "status", "-o=wide")
	c.want(0, namespace, "status", "-A")
	c.want(0, name, "pause", "deploy/shop", "-o=name", "--dry-run=server")
	c.want(2, "--output must be", "status", "-o=xml")
}

// TestManyKubeconfigs: $KUBECONFIG with several files, a context of the second one and its namespace, and an unknown context.
func TestManyKubeconfigs(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newDeployment(t, namespace, "shop", 2, podSpec())
	config, err := clientcmd.LoadFromFile(shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	inNamespace := config.Contexts[config.CurrentContext].DeepCopy()
	inNamespace.Namespace = namespace
	config.Contexts["shop"], config.CurrentContext = inNamespace, ""
	second, first := filepath.Join(t.TempDir(), "second"), filepath.Join(t.TempDir(), "first")
	if err := clientcmd.WriteToFile(*config, second); err != nil {
		t.Fatal(err)
	}
	const elsewhere = "apiVersion: v1\nkind: Config\ncurrent-context: elsewhere\nclusters: [{name: elsewhere, cluster: {server: 'http://127.0.0.1:1'}}]\ncontexts: [{name: elsewhere, context: {cluster: elsewhere}}]\n"
	if err := os.WriteFile(first, []byte(elsewhere), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &commandRun{t: t, program: buildScaler(t), env: []string{"KUBECONFIG=" + first + string(os.PathListSeparator) + second}}
	c.want(0, "would set 5 replicas", "set", "deploy/shop", "--replicas=5", "--dry-run=server", "--context=shop")
	c.want(0, "no holds in namespace "+namespace, "status", "--context=shop")
	c.want(0, "no holds in namespace kube-public", "status", "--context=shop", "-n=kube-public")
	c.want(1, "connection refused", "status")
	c.want(2, `context "cart" does not exist`, "status", "--context=cart")
	c.want(2, `context "shop" does not exist`, "status", "--context=shop", "--kubeconfig="+first)
}
