package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// The programs' ServiceAccounts, as kube-apiserver names them.
const (
	adapterUser = "system:serviceaccount:tachometer:tachometer-adapter"
	scalerUser  = "system:serviceaccount:tachometer:tachometer-scaler"
)

// auditRights returns kube-apiserver's flags for a log of every request of the adapter and of the scaler.
func auditRights(dir string) ([]string, error) {
	policy := filepath.Join(dir, "audit-policy.yaml")
	text := "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- {level: Metadata, users: [" + adapterUser + ", " + scalerUser + "]}\n- {level: None}\n"
	return []string{"--audit-policy-file=" + policy, "--audit-log-path=" + auditLog(dir)}, os.WriteFile(policy, []byte(text), 0o600)
}

func auditLog(dir string) string { return filepath.Join(dir, "audit.log") }

// right is a verb on a resource ("pods", "*/scale"), with the name of a single object or without.
type right struct{ group, resource, verb, name string }

func (r right) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s.%s %s", r.verb, r.resource, r.group, r.name))
}

// covers reports whether a granted right permits a request.
func (r right) covers(asked right) bool {
	sub, wildcard := strings.CutPrefix(r.resource, "*/")
	return (r.group == "*" || r.group == asked.group) && r.verb == asked.verb && (r.name == "" || r.name == asked.name) &&
		(r.resource == asked.resource || wildcard && strings.HasSuffix(asked.resource, "/"+sub))
}

// auditedProgram is a program whose requests are compared with the shipped roles.
type auditedProgram struct {
	name, user string
	manifest   string   // below manifests
	roles      []string // names of its roles
	tolerated  []right  // other rights, which are not compared
}

var auditedPrograms = []auditedProgram{
	{"adapter", adapterUser, "adapter/rbac.yaml", []string{"tachometer-adapter"}, append(builtInRights, peerRights...)},
	{"scaler", scalerUser, "scaler/base/rbac.yaml", []string{"tachometer-scaler", "tachometer-scaler-workloads", "tachometer-scaler-holds"}, scalerOptionalRights},
}

// scalerOptionalRights are asked for and not granted (with them the scaler gives up the ownership of a field after a hold), or granted and
// not asked for here (the surge lane reads metrics of autoscalers that opt in: TestSurge in test/e2e).
var scalerOptionalRights = append([]right{
	{"apps", "deployments", "patch", ""},
	{"apps", "statefulsets", "patch", ""},
}, metricReadRights...)

// peerRights are asked of another replica, and so in no audit log: TestTwoReplicas fails without them.
var peerRights = append([]right{
	{"explain.tachometer.dev", "horizontalpodautoscalers/decisions", "get", ""},
}, metricReadRights...)

// metricReadRights are those of reads of all metrics.
var metricReadRights = []right{
	{"custom.metrics.k8s.io", "*", "get", ""},
	{"custom.metrics.k8s.io", "*", "list", ""},
	{"external.metrics.k8s.io", "*", "get", ""},
	{"external.metrics.k8s.io", "*", "list", ""},
}

// builtInRights are those of the roles of Kubernetes that the adapter is bound to: system:auth-delegator and
// extension-apiserver-authentication-reader. They need not be used.
var builtInRights = []right{
	{"authentication.k8s.io", "tokenreviews", "create", ""},
	{"authorization.k8s.io", "subjectaccessreviews", "create", ""},
	{"", "configmaps", "get", "extension-apiserver-authentication"},
	{"", "configmaps", "list", "extension-apiserver-authentication"},
	{"", "configmaps", "watch", "extension-apiserver-authentication"},
}

// compareRights compares the requests of both programs in all tests with the shipped roles: nothing is granted and unused, or asked for
// and not granted. A run of some tests alone says nothing about what is unused.
func compareRights(dir string) error {
	if f := flag.Lookup("test.run"); f != nil && f.Value.String() != "" && os.Getenv("TACHOMETER_RIGHTS") == "" {
		return nil
	}
	var errs []error
	for _, p := range auditedPrograms {
		if err := p.compare(dir); err != nil {
			errs = append(errs, fmt.Errorf("rights of the %s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

// compare compares the requests of one program with its roles.
func (p auditedProgram) compare(dir string) error {
	granted, err := p.readGrantedRights()
	if err != nil {
		return err
	}
	asked, err := readAskedRights(auditLog(dir), p.user)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "rights of the %s: %d granted, %d kinds of requests\n", p.name, len(granted), len(asked))
	if len(asked) == 0 || len(granted) == 0 {
		return fmt.Errorf("%d rights granted, and %d kinds of requests in the audit log", len(granted), len(asked))
	}
	var errs []error
	for _, g := range granted {
		used := slices.ContainsFunc(asked, g.covers)
		if g.verb == "list" { // an informer lists only where kube-apiserver does not stream what is there
			g := g
			g.verb = "watch"
			used = used || slices.ContainsFunc(asked, g.covers)
		}
		if !used && !slices.Contains(p.tolerated, g) {
			errs = append(errs, fmt.Errorf("granted and not used: %s", g))
		}
	}
	for _, a := range asked {
		covers := func(g right) bool { return g.covers(a) }
		if !slices.ContainsFunc(granted, covers) && !slices.ContainsFunc(p.tolerated, covers) {
			errs = append(errs, fmt.Errorf("used and not granted: %s", a))
		}
	}
	return errors.Join(errs...)
}

// readGrantedRights reads the program's own roles from the shipped manifest.
func (p auditedProgram) readGrantedRights() ([]right, error) {
	root, err := stack.Root(context.Background())
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(root, "manifests", filepath.FromSlash(p.manifest)))
	if err != nil {
		return nil, err
	}
	var granted []right
	for docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return granted, nil
		}
		if err != nil {
			return nil, err
		}
		var role rbacv1.ClusterRole // a Role has the same rules
		if err := yaml.Unmarshal(doc, &role); err != nil {
			return nil, err
		}
		if !slices.Contains(p.roles, role.Name) || role.Kind != "ClusterRole" && role.Kind != "Role" {
			continue
		}
		for _, rule := range role.Rules {
			granted = append(granted, spreadRule(rule)...)
		}
	}
}

func spreadRule(rule rbacv1.PolicyRule) []right {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var all []right
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					all = append(all, right{group, resource, verb, name})
				}
			}
		}
	}
	return all
}

// readAskedRights reads the kinds of a user's requests for resources from an audit log. Paths that are no resources, such as discovery,
// are open to every authenticated user.
func readAskedRights(file, user string) ([]right, error) {
	data, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	seen := map[right]bool{}
	for decoder := json.NewDecoder(data); ; {
		var event struct {
			Verb      string
			User      struct{ Username string }
			ObjectRef *struct{ Resource, Subresource, APIGroup, Name string }
		}
		err := decoder.Decode(&event)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // kube-apiserver writes on
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		if event.ObjectRef == nil || event.User.Username != user {
			continue
		}
		r := right{event.ObjectRef.APIGroup, event.ObjectRef.Resource, event.Verb, event.ObjectRef.Name}
		if event.ObjectRef.Subresource != "" {
			r.resource += "/" + event.ObjectRef.Subresource
		}
		if !slices.Contains([]string{"apiservices", "secrets", "configmaps", "leases"}, r.resource) {
			r.name = "" // roles name no single object of other resources
		}
		seen[r] = true
	}
	var all []right
	for r := range seen {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b right) int { return strings.Compare(a.String(), b.String()) })
	return all, nil
}

// TestObjectsThatSelect reads a metric of each kind of object whose own selector the adapter has the right to read.
func TestObjectsThatSelect(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	ctx, namespace := t.Context(), newNamespace(t)
	labels := map[string]string{"app": "web"}
	nobody := map[string]string{"app": "nobody"} // controllers adopt, change and delete pods that they select
	template := func(restart corev1.RestartPolicy) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: nobody},
			Spec:       corev1.PodSpec{RestartPolicy: restart, Containers: []corev1.Container{{Name: "web", Image: "none"}}},
		}
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	if _, err := client.CoreV1().Services(namespace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	set := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: nobody}, Template: template(corev1.RestartPolicyAlways)},
	}
	if _, err := client.AppsV1().DaemonSets(namespace).Create(ctx, set, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	suspend, own := true, true
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: batchv1.JobSpec{
			Suspend: &suspend, ManualSelector: &own, Selector: &metav1.LabelSelector{MatchLabels: nobody}, Template: template(corev1.RestartPolicyNever),
		},
	}
	if _, err := client.BatchV1().Jobs(namespace).Create(ctx, job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	newPod(t, namespace, "web", labels, text("jobs_waiting 7\n"))
	for resource, want := range map[string]string{"services": "", "daemonsets.apps": "has no pods", "jobs.batch": "has no pods"} {
		path := "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/" + resource + "/web/jobs_waiting"
		eventually(t, 20*time.Second, func(ctx context.Context) error {
			_, err := admin.values(ctx, path)
			if err != nil && want != "" && strings.Contains(err.Error(), want) {
				return nil
			}
			return err
		})
	}
}
