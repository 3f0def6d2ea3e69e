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

// readManifests reads all objects of a kind from a file below manifests, strictly.
func readManifests[T any](t *testing.T, file, kind string) []T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../../manifests", file))
	if err != nil {
		t.Fatal(err)
	}
	var objects []T
	for docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return objects
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
		var object T
		if err := yaml.UnmarshalStrict(doc, &object); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		objects = append(objects, object)
	}
}

// readManifest reads the first object of a kind from a file below manifests, strictly.
func readManifest[T any](t *testing.T, file, kind string) T {
	t.Helper()
	objects := readManifests[T](t, file, kind)
	if len(objects) == 0 {
		t.Fatalf("no %s in %s", kind, file)
	}
	return objects[0]
}

// The component grants exactly the rights that the program uses, and names the APIService that it serves.
func TestComponentAgrees(t *testing.T) {
	t.Parallel()
	const component = "components/resource-metrics/"
	service := readManifest[core.Service](t, "adapter/service.yaml", "Service")
	want := apiregistration.ServiceReference{Namespace: service.Namespace, Name: service.Name, Port: &service.Spec.Ports[0].Port}
	var names []string
	for _, registered := range readManifests[apiregistration.APIService](t, component+"apiservices.yaml", "APIService") {
		names = append(names, registered.Name)
		if registered.Spec.Version+"."+registered.Spec.Group != registered.Name {
			t.Errorf("APIService %s is of %s in %s", registered.Name, registered.Spec.Group, registered.Spec.Version)
		}
		if diff := cmp.Diff(&want, registered.Spec.Service); diff != "" {
			t.Errorf("the Service of APIService %s (-adapter's +its):\n%s", registered.Name, diff)
		}
	}
	if diff := cmp.Diff(APIServices, names); diff != "" {
		t.Errorf("APIServices (-program +manifests):\n%s", diff)
	}
	role := readManifest[rbac.ClusterRole](t, component+"rbac.yaml", "ClusterRole")
	rules := []rbac.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"nodes/metrics"}, Verbs: []string{"get"}},
		{APIGroups: []string{"apiregistration.k8s.io"}, Resources: []string{"apiservices"}, ResourceNames: APIServices, Verbs: []string{"get", "patch"}},
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
