package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// caBundle returns the caBundle of an APIService.
func caBundle(ctx context.Context, name string) ([]byte, error) {
	out, err := shared.Kubectl(ctx, "get", "apiservice", name, "-o", "json")
	if err != nil {
		return nil, err
	}
	var service struct {
		Spec struct {
			CABundle              []byte
			InsecureSkipTLSVerify bool
		}
	}
	if err := json.Unmarshal(out, &service); err != nil {
		return nil, fmt.Errorf("parse APIService %s: %w", name, err)
	}
	if service.Spec.InsecureSkipTLSVerify {
		return nil, fmt.Errorf("APIService %s has insecureSkipTLSVerify", name)
	}
	if len(service.Spec.CABundle) == 0 {
		return nil, fmt.Errorf("APIService %s has no caBundle yet", name)
	}
	return service.Spec.CABundle, nil
}

// TestVerified looks for ways around the verification of the adapter's certificate.
func TestVerified(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	out, err := shared.Kubectl(t.Context(), "get", "apiservices", "-o", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	const around = "insecureSkipTLSVerify"
	if bytes.Contains(out, []byte(around)) {
		t.Errorf("an APIService of the cluster has %s", around)
	}
	root, err := stack.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(filepath.Join(root, "manifests"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(around)) {
			t.Errorf("%s has %s", path, around)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d manifests: %v", files, err)
	}
}

// TestBundleRestored overwrites a caBundle of the adapter.
func TestBundleRestored(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	const name = "v1beta1.external.metrics.k8s.io" // not read by any other test
	before, err := caBundle(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	other := `{"spec":{"caBundle":"bm90aGluZw=="}}`
	if _, err := shared.Kubectl(t.Context(), "patch", "apiservice", name, "--type=merge", "-p", other); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		now, err := caBundle(ctx, name)
		if err == nil && !bytes.Equal(now, before) {
			err = fmt.Errorf("the caBundle is %q", now)
		}
		return err
	})
	eventually(t, 30*time.Second, func(ctx context.Context) error { // kube-apiserver follows
		_, err := admin.raw(ctx, "/apis/external.metrics.k8s.io/v1beta1")
		return err
	})
}

// TestDiscoveryDocuments reads the discovery lists of the aggregated APIs. No other test changes the demand meanwhile, as it does not
// run in parallel.
func TestDiscoveryDocuments(t *testing.T) {
	requireCluster(t)
	for _, version := range []string{"v1beta1", "v1beta2"} {
		path := "/apis/custom.metrics.k8s.io/" + version
		first, err := admin.raw(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		var list metav1.APIResourceList
		if err := json.Unmarshal(first, &list); err != nil {
			t.Fatal(err)
		}
		if len(list.APIResources) == 0 {
			t.Errorf("%s is empty", path)
		}
		for range 20 {
			again, err := admin.raw(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first, again) {
				t.Fatalf("%s: %s, then %s", path, first, again)
			}
		}
	}
}

// TestRights reads with and without the right that the manifests give to users with the view right in a namespace.
func TestRights(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newPod(t, namespace, "web", nil, newCounter(1000))
	read := func(c *caller, namespace string) error {
		_, err := c.raw(t.Context(), podsPath(namespace, requests, "", ""))
		return err
	}
	nobody := newUser(t, "nobody", "nobodies")
	if err := rejected(read(nobody, namespace), http.StatusForbidden, "nobody", "custom.metrics.k8s.io"); err != nil {
		t.Error(err)
	}
	someone := newUser(t, "someone")
	if _, err := shared.Kubectl(t.Context(), "-n", namespace, "create", "rolebinding", "someone", "--clusterrole=view", "--user=someone"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func(context.Context) error { return read(someone, namespace) })
	if err := rejected(read(someone, "default"), http.StatusForbidden, "someone"); err != nil {
		t.Errorf("in another namespace: %v", err)
	}
}

func newUser(t *testing.T, name string, groups ...string) *caller {
	t.Helper()
	kubeconfig, err := shared.AddUser(name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCaller(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
