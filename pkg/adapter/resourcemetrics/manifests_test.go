package resourcemetrics

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/yaml"
)

// readManifest reads the first object of a kind from a file below manifests, strictly.
func readManifest[T any](t *testing.T, file, kind string) T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../../manifests", file))
	if err != nil {
		t.Fatal(err)
	}
	var object T
	for docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			t.Fatalf("no %s in %s", kind, file)
		}
		if err != nil {
			t.Fatal(err)
		}
		var head struct{ Kind string }
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatal(err)
		}
		if head.Kind != kind {
			continue
		}
		if err := yaml.UnmarshalStrict(doc, &object); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		return object
	}
}

// The component grants exactly the rights that the program uses, and names the APIService that it serves.
func TestComponentAgrees(t *testing.T) {
	t.Parallel()
	const component = "components/resource-metrics/"
	registered := readManifest[apiregistration.APIService](t, component+"apiservice.yaml", "APIService")
	service := readManifest[core.Service](t, "adapter/service.yaml", "Service")
	want := apiregistration.ServiceReference{Namespace: service.Namespace, Name: service.Name, Port: &service.Spec.Ports[0].Port}
	if registered.Name != APIService || registered.Spec.Version+"."+registered.Spec.Group != APIService {
		t.Errorf("APIService %s of %s in %s, want %s", registered.Name, registered.Spec.Group, registered.Spec.Version, APIService)
	}
	if diff := cmp.Diff(&want, registered.Spec.Service); diff != "" {
		t.Errorf("the APIService's Service (-adapter's +its):\n%s", diff)
	}
	role := readManifest[rbac.ClusterRole](t, component+"rbac.yaml", "ClusterRole")
	rules := []rbac.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"nodes/metrics"}, Verbs: []string{"get"}},
		{APIGroups: []string{"apiregistration.k8s.io"}, Resources: []string{"apiservices"}, ResourceNames: []string{APIService}, Verbs: []string{"get", "patch"}},
	}
	if diff := cmp.Diff(rules, role.Rules); diff != "" {
		t.Errorf("rights (-needed +given):\n%s", diff)
	}
	binding := readManifest[rbac.ClusterRoleBinding](t, component+"rbac.yaml", "ClusterRoleBinding")
	account := readManifest[core.ServiceAccount](t, "adapter/rbac.yaml", "ServiceAccount")
	subjects := []rbac.Subject{{Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name}}
	if diff := cmp.Diff(subjects, binding.Subjects); diff != "" || binding.RoleRef.Name != role.Name {
		t.Errorf("bound to %s (-adapter's +given):\n%s", binding.RoleRef.Name, diff)
	}
}
