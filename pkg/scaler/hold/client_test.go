package hold

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// TestDeleteHold: a deletion names the version that was read, and a dry run is one in the body, beside which an API server ignores parameters.
func TestDeleteHold(t *testing.T) {
	t.Parallel()
	var path, contentType string
	var got metav1.DeleteOptions
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, contentType, got = r.Method+" "+r.URL.Path, r.Header.Get("Content-Type"), metav1.DeleteOptions{}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess})
	}))
	defer server.Close()
	client, err := NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	o := &Object{ObjectMeta: metav1.ObjectMeta{Namespace: "sale", Name: "shop-a", UID: "1", ResourceVersion: "2"}}
	for _, c := range []struct {
		client *Client
		dryRun []string
	}{{client, nil}, {client.DryRun(), []string{metav1.DryRunAll}}} {
		if err := c.client.DeleteHold(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		want := metav1.DeleteOptions{
			TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
			Preconditions: &metav1.Preconditions{UID: &o.UID, ResourceVersion: &o.ResourceVersion}, DryRun: c.dryRun,
		}
		if diff := cmp.Diff(want, got); diff != "" || path != "DELETE /apis/scaler.tachometer.dev/v1alpha1/namespaces/sale/holds/shop-a" || contentType != "application/json" {
			t.Errorf("%s, %s (-want +got):\n%s", path, contentType, diff)
		}
	}
}

// TestListHoldsInPages: each Hold comes once, from pages that the API server bounds. A list that ends early is an error.
func TestListHoldsInPages(t *testing.T) {
	t.Parallel()
	var limits, paths []string
	fails := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limits, paths = append(limits, r.FormValue("limit")), append(paths, r.URL.Path)
		page := ObjectList{TypeMeta: metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: Kind + "List"}, Items: []Object{{}}}
		page.Items[0].Name = "first"
		if page.Continue = "more"; r.FormValue("continue") == "more" {
			page.Items[0].Name, page.Continue = "second", ""
			if fails {
				w.WriteHeader(http.StatusGone)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(page)
	}))
	defer server.Close()
	client, err := NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	all, err := client.ListHolds(t.Context(), "sale", "a=b")
	if err != nil || len(all) != 2 || all[0].Name != "first" || all[1].Name != "second" || !slices.Equal(limits, []string{holdListPage, holdListPage}) {
		t.Errorf("%d holds, %v; limits %q", len(all), err, limits)
	}
	fails = true
	if all, err = client.ListHolds(t.Context(), "", ""); err == nil || all != nil {
		t.Errorf("half a list: %d holds, %v", len(all), err)
	}
	group := "/apis/" + GroupVersion.String()
	if want := []string{group + "/namespaces/sale/" + Resource, group + "/" + Resource}; paths[0] != want[0] || paths[2] != want[1] {
		t.Errorf("paths %q; want %q", paths, want)
	}
}
