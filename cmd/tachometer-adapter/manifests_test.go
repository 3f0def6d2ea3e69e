package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/yaml"
)

const manifests = "../../manifests/adapter"

// decodeManifests reads all objects of a kind from one manifest, strictly.
func decodeManifests[T any](t *testing.T, file, kind string) []T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(manifests, file))
	if err != nil {
		t.Fatal(err)
	}
	var found []T
	for docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return found
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
		found = append(found, object)
	}
}

// The names in the manifests are those that the program asks for, and the rights are for them alone.
func TestManifestsAgree(t *testing.T) {
	t.Parallel()
	var names []string
	service := decodeManifests[core.Service](t, "service.yaml", "Service")[0]
	for _, s := range decodeManifests[apiregistration.APIService](t, "apiservices.yaml", "APIService") {
		names = append(names, s.Name)
		if s.Spec.Service.Name != service.Name || s.Spec.Service.Namespace != service.Namespace || *s.Spec.Service.Port != service.Spec.Ports[0].Port {
			t.Errorf("APIService %s points at %v, not at the Service", s.Name, s.Spec.Service)
		}
	}
	slices.Sort(names)
	want := slices.Sorted(slices.Values(apiServices))
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("APIServices (-program +manifests):\n%s", diff)
	}
	opts := deployedOptions(t)
	if opts.service != service.Name || opts.namespace != service.Namespace {
		t.Errorf("the flags name the Service %s/%s, which is %s/%s", opts.namespace, opts.service, service.Namespace, service.Name)
	}
	if secret := decodeManifests[core.Secret](t, "certificate.yaml", "Secret")[0]; secret.Name != opts.certSecret || len(secret.Data) != 0 {
		t.Errorf("Secret %s with %d keys, want %s with none: applying it again would destroy the certificate", secret.Name, len(secret.Data), opts.certSecret)
	}
	if got := resourceNames(decodeManifests[rbac.ClusterRole](t, "rbac.yaml", "ClusterRole")[0].Rules, "apiservices"); !cmp.Equal(got, want) {
		t.Errorf("APIServices that may be written: %q", got)
	}
	if got := resourceNames(decodeManifests[rbac.Role](t, "rbac.yaml", "Role")[0].Rules, "secrets"); !cmp.Equal(got, []string{opts.certSecret}) {
		t.Errorf("Secrets that may be written: %q", got)
	}
}

func resourceNames(rules []rbac.PolicyRule, resource string) []string {
	for _, r := range rules {
		if slices.Contains(r.Resources, resource) {
			return slices.Sorted(slices.Values(r.ResourceNames))
		}
	}
	return nil
}

// deployedOptions are the options that the Deployment's arguments give.
func deployedOptions(t *testing.T) *commandLineOptions {
	t.Helper()
	deployment := decodeManifests[apps.Deployment](t, "deployment.yaml", "Deployment")[0]
	opts := newDefaultOptions()
	flags := pflag.NewFlagSet("adapter", pflag.ContinueOnError)
	for _, group := range opts.newFlagSets().FlagSets {
		flags.AddFlagSet(group)
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	var args []string
	for _, a := range container.Args {
		args = append(args, strings.ReplaceAll(a, "$(NAMESPACE)", deployment.Namespace))
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := opts.validateAllFlags(); err != nil {
		t.Error(err)
	}
	if got := container.Ports[0].ContainerPort; int(got) != opts.server.Serving.BindPort {
		t.Errorf("the container's port is %d, the program's %d", got, opts.server.Serving.BindPort)
	}
	grace := *deployment.Spec.Template.Spec.TerminationGracePeriodSeconds
	if need := (opts.server.ShutdownDelay + opts.server.RequestTimeout).Seconds(); float64(grace) < need {
		t.Errorf("%d s to end, and %v s are needed", grace, need)
	}
	return opts
}
