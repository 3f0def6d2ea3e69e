package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// checkConfig is a configuration that needs one of everything.
const checkConfig = `apiVersion: config.tachometer.dev/v1alpha1
kind: ScalerConfig
notify:
  oncall: {webhook: {urlFile: URL, allowAddresses: [127.0.0.1]}}
schedules:
- {name: hours, namespace: NAMESPACE, workloads: [deploy/shop], windows: [{start: "08:00", end: "22:00", minReplicas: 4}]}
events:
  http: {address: ":8443", secretFiles: [SECRET]}
  rules:
  - name: sale
    namespace: NAMESPACE
    type: START
    workloads: [{workload: deploy/shop, replicas: 9}]
    notify: [oncall]
    gates: [checkout]
gates:
- name: checkout
  namespaces: [NAMESPACE]
  open: [{patch: {apiVersion: v1, kind: ConfigMap, name: gate, merge: {data: {open: "true"}}}}]
`

// checkResult is a result of tachometer-scaler check -o json.
type checkResult struct{ Check, Subject, Status, Detail, Fix string }

// checkRun is a check of a configuration as a user.
type checkRun struct {
	t                                *testing.T
	program, config, user, namespace string
	args                             []string
}

// listMissing runs the check, and returns its results that are not ok.
func (c *checkRun) listMissing(ctx context.Context) (all []checkResult, code int, err error) {
	args := append([]string{"check", "--config=" + c.config, "-o=json", "--lease-namespace=" + stack.AdapterNamespace}, c.args...)
	if c.user != "" {
		args = append(args, "--as="+c.user)
	}
	cmd := exec.CommandContext(ctx, c.program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	var results struct{ Checks []checkResult }
	if err := json.Unmarshal(out.Bytes(), &results); err != nil || len(results.Checks) == 0 {
		return nil, 0, fmt.Errorf("exit code %d, %w: %s%s", cmd.ProcessState.ExitCode(), err, &out, &errs)
	}
	for _, r := range results.Checks {
		if r.Status != "ok" {
			all = append(all, r)
		}
	}
	return all, cmd.ProcessState.ExitCode(), nil
}

// wantFine waits until nothing is missing.
func (c *checkRun) wantFine() {
	c.t.Helper()
	eventually(c.t, 30*time.Second, func(ctx context.Context) error {
		all, code, err := c.listMissing(ctx)
		if err == nil && (len(all) > 0 || code != 0) {
			err = fmt.Errorf("exit code %d: %+v", code, all)
		}
		return err
	})
}

// wantMissing waits until exactly the checks of one kind find something, the last with a detail and a fix; it returns the fix.
func (c *checkRun) wantMissing(check, detail, fix string) string {
	c.t.Helper()
	var last checkResult
	eventually(c.t, 30*time.Second, func(ctx context.Context) error {
		all, code, err := c.listMissing(ctx)
		if err != nil {
			return err
		}
		if len(all) == 0 || code != 1 {
			return fmt.Errorf("exit code %d: %+v", code, all)
		}
		for _, r := range all {
			if r.Check == check && r.Status == "MISSING" && strings.Contains(r.Detail, detail) && strings.Contains(r.Fix, fix) {
				last = r
				return nil
			}
		}
		return fmt.Errorf("no %s with %q and %q in %+v", check, detail, fix, all)
	})
	return last.Fix
}

// runFix runs the command of a fix as an administrator, in the repository's root.
func runFix(t *testing.T, fix string) {
	t.Helper()
	root, err := stack.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(fix, "kubectl ") {
		t.Fatalf("no command: %s", fix)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-ec", fix)
	cmd.Dir, cmd.Env = root, append(os.Environ(), shared.Env()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", fix, err, out)
	}
}

// newCheckRun returns a check of checkConfig, and the file of the notifier's URL. Its user has no right yet.
func newCheckRun(t *testing.T, namespace string, receiver *httptest.Server) (c *checkRun, urlFile, secretFile string) {
	t.Helper()
	dir := t.TempDir()
	urlFile, secretFile = filepath.Join(dir, "url"), filepath.Join(dir, "secret")
	c = &checkRun{t: t, namespace: namespace, program: buildScaler(t), config: filepath.Join(dir, "config.yaml"), args: []string{"--kubeconfig=" + shared.Kubeconfig()}}
	text := strings.NewReplacer("NAMESPACE", namespace, "URL", urlFile, "SECRET", secretFile).Replace(checkConfig)
	for file, content := range map[string]string{c.config: text, urlFile: receiver.URL + "/hook", secretFile: saleSecret} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c, urlFile, secretFile
}

// TestCheckMends: from nothing to a check without a fault, by the commands that the check prints, and then each part is taken away alone: its sentence, and what mends it.
func TestCheckMends(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	c, urlFile, secretFile := newCheckRun(t, namespace, newMessageReceiver(t).Server)
	c.user = "checker-" + namespace // of a person, so that no other test has its rights
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "gate"}}
	if _, err := client.CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bindOwnRole(t, c.user)
	runFix(t, c.wantMissing("rights", "not granted", "create rolebinding tachometer-scaler --clusterrole=tachometer-scaler-workloads --user='"+c.user+"'"))
	runFix(t, c.wantMissing("rights", "not granted", "create role tachometer-scaler-patch-configmaps-gate"))
	runFix(t, c.wantMissing("rights", "not granted", "create role tachometer-scaler-get-configmaps-gate"))
	c.wantFine()
	for _, part := range c.listParts(configMap, urlFile, secretFile) {
		if err := part.take(); err != nil {
			t.Fatalf("%s: %v", part.name, err)
		}
		c.wantMissing(part.check, part.detail, part.fix)
		if err := part.give(); err != nil {
			t.Fatalf("%s: %v", part.name, err)
		}
		c.wantFine()
	}
}

// checkedPart is a part of what a configuration needs: what takes it away and gives it back, and the result of a check without it.
type checkedPart struct {
	name               string
	take, give         func() error
	check, detail, fix string
}

// listParts lists what checkConfig needs besides rights.
func (c *checkRun) listParts(configMap *corev1.ConfigMap, urlFile, secretFile string) []checkedPart {
	return []checkedPart{
		{
			"the gate's object", func() error {
				return client.CoreV1().ConfigMaps(c.namespace).Delete(c.t.Context(), "gate", metav1.DeleteOptions{})
			}, func() error {
				_, err := client.CoreV1().ConfigMaps(c.namespace).Create(c.t.Context(), configMap, metav1.CreateOptions{})
				return err
			}, "gate", "does not exist", "create it",
		},
		{
			"the notifier's URL", func() error { return os.WriteFile(urlFile, []byte("http://127.0.0.1:1/hook"), 0o600) },
			func() error { return os.WriteFile(urlFile, []byte(newMessageReceiver(c.t).URL), 0o600) }, "notifier", "connection refused", "NetworkPolicy",
		},
		{
			"the secret of events", func() error { return os.Remove(secretFile) }, func() error { return os.WriteFile(secretFile, []byte(saleSecret), 0o600) },
			"http", "no such file", "mount the Secret",
		},
		{
			"room under the autoscaler's maximum", func() error { return setMaxReplicas(c.t, c.namespace, 5) }, func() error { return setMaxReplicas(c.t, c.namespace, 30) },
			"workload", "at most 5 replicas", "change the rule sale",
		},
		{
			"the kind of a workload", func() error {
				return replaceInFile(c.config, "deploy/shop, replicas", "argoproj.io/v1alpha1/Rollout/shop, replicas")
			},
			func() error {
				return replaceInFile(c.config, "argoproj.io/v1alpha1/Rollout/shop, replicas", "deploy/shop, replicas")
			},
			"kind", `no matches for kind "Rollout"`, "install the custom resource Rollout",
		},
		{
			"the workload", func() error { return replaceInFile(c.config, "[deploy/shop]", "[deploy/shopp]") },
			func() error { return replaceInFile(c.config, "[deploy/shopp]", "[deploy/shop]") }, "workload", "does not exist", "create it",
		},
		{
			"room for a Hold", func() error {
				_, err := shared.Kubectl(c.t.Context(), "-n", c.namespace, "create", "quota", "none", "--hard=count/holds.scaler.tachometer.dev=0")
				return err
			}, func() error {
				_, err := shared.Kubectl(c.t.Context(), "-n", c.namespace, "delete", "quota", "none")
				return err
			}, "hold", "exceeded quota", "kubectl describe namespace " + c.namespace,
		},
	}
}

// bindOwnRole gives a user the rights of the controller on its own objects.
func bindOwnRole(t *testing.T, user string) {
	t.Helper()
	installScalerRights(t, newNamespace(t))
	_, err := client.RbacV1().RoleBindings(stack.AdapterNamespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tachometer-scaler"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func setMaxReplicas(t *testing.T, namespace string, n int) error {
	t.Helper()
	_, err := shared.Kubectl(t.Context(), "-n", namespace, "patch", "hpa", "shop", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"maxReplicas":%d}}`, n))
	return err
}

func replaceInFile(file, before, after string) error {
	text, err := os.ReadFile(file)
	if err == nil && !bytes.Contains(text, []byte(before)) {
		err = fmt.Errorf("%s has no %q", file, before)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, bytes.Replace(text, []byte(before), []byte(after), 1), 0o600)
}

// TestCheckEachRight: each verb that the shipped ClusterRole grants on its resources is missed alone, by its name, when a user has all others.
func TestCheckEachRight(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	c, _, _ := newCheckRun(t, namespace, newMessageReceiver(t).Server)
	c.user = "narrow-" + namespace
	if err := replaceInFile(c.config, "    gates: [checkout]\n", ""); err != nil {
		t.Fatal(err)
	}
	bindOwnRole(t, c.user)
	role, err := client.RbacV1().ClusterRoles().Get(t.Context(), "tachometer-scaler-workloads", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	own := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "narrow"}, Rules: append(role.DeepCopy().Rules, rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"gate"}, Verbs: []string{"get", "patch"},
	})}
	roles := client.RbacV1().Roles(namespace)
	if own, err = roles.Create(t.Context(), own, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = client.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "narrow"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "narrow"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: c.user}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rules, checked := own.DeepCopy().Rules, 0
	for i, rule := range rules {
		if strings.HasSuffix(rule.APIGroups[0], "metrics.k8s.io") || len(rule.ResourceNames) > 0 { // the surge lane's, and the gate's
			continue
		}
		for v, verb := range rule.Verbs {
			own.Rules = append([]rbacv1.PolicyRule{}, rules...)
			own.Rules[i].Verbs = append(append([]string{}, rule.Verbs[:v]...), rule.Verbs[v+1:]...)
			if len(own.Rules[i].Verbs) == 0 {
				own.Rules = append(own.Rules[:i:i], own.Rules[i+1:]...)
			}
			if own, err = roles.Update(t.Context(), own, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			c.wantMissingRight(verb, rule)
			checked++
		}
	}
	if checked < 12 {
		t.Errorf("%d rights", checked)
	}
}

// wantMissingRight waits until a verb on the first resource of a rule is the missing right.
func (c *checkRun) wantMissingRight(verb string, rule rbacv1.PolicyRule) {
	c.t.Helper()
	resource, subresource, isSub := strings.Cut(rule.Resources[0], "/")
	subject := verb + " " + resource
	if rule.APIGroups[0] != "" {
		subject += "." + rule.APIGroups[0]
	}
	if isSub {
		subject += "/" + subresource
	}
	eventually(c.t, 30*time.Second, func(ctx context.Context) error {
		all, code, err := c.listMissing(ctx)
		if err != nil {
			return err
		}
		rights := 0
		for _, r := range all {
			if r.Check == "rights" {
				rights++
			}
			if r.Check == "rights" && strings.HasPrefix(r.Subject, subject+" in namespace ") && r.Status == "MISSING" && r.Fix == "kubectl apply -f manifests/scaler/base/rbac.yaml" && code == 1 && rights == 1 {
				return nil
			}
		}
		return fmt.Errorf("exit code %d, no %q in %+v", code, subject, all)
	})
}

// TestCheckAsServiceAccount: as the shipped ServiceAccount, check names it in the commands.
func TestCheckAsServiceAccount(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	installScalerRights(t, namespace)
	newWorkload(t, namespace, true)
	c, _, _ := newCheckRun(t, namespace, newMessageReceiver(t).Server)
	c.user = scalerUser
	c.wantMissing("gate", "forbidden", "tachometer-scaler-gates")
	fix := c.wantMissing("rights", "not granted", "--serviceaccount=tachometer:tachometer-scaler")
	if !strings.Contains(fix, "--resource-name=gate") {
		t.Errorf("the fix is not narrowed to the object: %s", fix)
	}
}
