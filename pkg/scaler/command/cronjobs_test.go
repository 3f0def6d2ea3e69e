package command

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const cronJobsFolder = "../../../manifests/scaler/cronjobs/"

// readDocuments calls each for every document of a file.
func readDocuments(t *testing.T, file string, each func(doc []byte) error) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = each(doc)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// readCronJobNotifier returns the argument that cronjobs-alerts adds, with another file.
func readCronJobNotifier(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(cronJobsFolder + "../cronjobs-alerts/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(data), "value: --notify=")
	kind, path, _ := strings.Cut(after, ":")
	if path, _, _ = strings.Cut(path, "\n"); !found || path != "/etc/tachometer-secrets/slack" {
		t.Fatalf("the patch has no --notify, or another file: %q", path)
	}
	return "--notify=" + kind + ":" + file
}

// TestD33CronJobs: the shipped Jobs verify the new pods, roll back and tell people when they fail, and exit with 1. They ask for nothing that
// their Role does not grant.
func TestD33CronJobs(t *testing.T) {
	t.Parallel()
	var rules []rbacv1.PolicyRule
	readDocuments(t, cronJobsFolder+"rbac.yaml", func(doc []byte) error {
		var role rbacv1.Role
		err := yaml.Unmarshal(doc, &role)
		if role.Kind == "Role" {
			rules = role.Rules
		}
		return err
	})
	jobs := 0
	readDocuments(t, cronJobsFolder+"cronjobs.yaml", func(doc []byte) error {
		var job batchv1.CronJob
		if err := yaml.Unmarshal(doc, &job); err != nil {
			return err
		}
		jobs++
		args := job.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Args
		if !slices.Contains(args, "--wait") || !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--url=") }) {
			t.Errorf("%s does not verify: %q", job.Name, args)
		}
		if slices.Contains(args, "--replicas=8") {
			runCronJob(t, args, rules)
		}
		return nil
	})
	if jobs != 2 || len(rules) < 5 {
		t.Errorf("%d jobs, %d rules", jobs, len(rules))
	}
}

// runCronJob runs the arguments of a Job whose new pods never start.
func runCronJob(t *testing.T, args []string, rules []rbacv1.PolicyRule) {
	t.Helper()
	var told atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil && bytes.Contains(body, []byte("failed")) {
			told.Add(1)
		}
	}))
	defer receiver.Close()
	file := filepath.Join(t.TempDir(), "slack")
	if err := os.WriteFile(file, []byte(receiver.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newFakeAPI(t)
	sample := "/apis/apps/v1/namespaces/sale/deployments/sample"
	a.objects[sample] = copyObject(a.objects["/apis/apps/v1/namespaces/sale/deployments/shop"])
	a.objects[sample]["metadata"].(map[string]any)["name"] = "sample"
	a.forbids = "PATCH " + sample // giving up the field needs the right to patch the workload; without it, nothing fails
	_, errs, code := a.run(t, append(slices.Clone(args), readCronJobNotifier(t, file), "--within=1s")...)
	if code != ExitFailed || !strings.Contains(errs, "failed and rolled back") || told.Load() != 1 {
		t.Errorf("exit code %d, %d messages: %s", code, told.Load(), errs)
	}
	if n := a.objects[sample]["spec"].(map[string]any)["replicas"]; n != float64(2) {
		t.Errorf("%v replicas, want 2", n)
	}
	for _, request := range a.requests {
		if r := parseRequest(request); !slices.ContainsFunc(rules, r.isGranted) {
			t.Errorf("the Role does not grant %q: %+v", request, r)
		}
	}
}

// apiRequest is a request for a resource.
type apiRequest struct{ group, resource, name, verb string }

// parseRequest parses METHOD PATH?QUERY.
func parseRequest(text string) apiRequest {
	method, path, _ := strings.Cut(text, " ")
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	r := apiRequest{}
	if parts[0] == "apis" {
		r.group, parts = parts[1], parts[1:]
	}
	parts = parts[4:] // api or group, version, namespaces, NAMESPACE
	r.resource = parts[0]
	if len(parts) > 1 {
		r.name = parts[1]
	}
	if len(parts) > 2 {
		r.resource += "/" + parts[2]
	}
	r.verb = map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete", http.MethodGet: "get"}[method]
	if method == http.MethodGet && r.name == "" {
		r.verb = "list"
	}
	return r
}

func (r apiRequest) isGranted(rule rbacv1.PolicyRule) bool {
	return slices.Contains(rule.APIGroups, r.group) && slices.Contains(rule.Resources, r.resource) && slices.Contains(rule.Verbs, r.verb) &&
		(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, r.name))
}
