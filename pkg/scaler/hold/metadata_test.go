package hold

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// newClientOwnedHold returns a Hold with much metadata of its client.
func newClientOwnedHold() *Object {
	return &Object{
		TypeMeta: metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: Kind},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "sale", Name: "web", UID: "1", ResourceVersion: "2", Finalizers: []string{"their/finalizer", Finalizer},
			Labels:          map[string]string{"team": "shop", ControllerLabel: "tachometer.scaler", OwnerLabel: strings.Repeat("x", 1000)},
			Annotations:     map[string]string{"note": strings.Repeat("x", 100_000), PausedByOwnerAnnotation: "true"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "sales", UID: "3"}},
		},
		Spec: Spec{Replicas: 3},
	}
}

// TestUpdateTrimmedHold: a write of a Hold that was kept without the metadata of its client leaves them, and changes the scaler's own.
func TestUpdateTrimmedHold(t *testing.T) {
	t.Parallel()
	var written Object
	stored := newClientOwnedHold()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			if got := r.FormValue("fieldSelector"); got != "metadata.name=web" {
				t.Errorf("reads %q", got)
			}
			_ = json.NewEncoder(w).Encode(ObjectList{TypeMeta: metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: Kind + "List"}, Items: []Object{*stored}})
			return
		}
		written = Object{}
		if err := json.NewDecoder(r.Body).Decode(&written); err != nil {
			t.Error(err)
		}
		_ = json.NewEncoder(w).Encode(written)
	}))
	defer server.Close()
	client, err := NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	o := newClientOwnedHold()
	o.TrimMetadata()
	if n := o.ObjectMeta.Size(); n > 1000 || o.Labels[ControllerLabel] == "" || o.Annotations[PausedByOwnerAnnotation] == "" || len(o.Finalizers) != 1 {
		t.Fatalf("%d bytes of metadata: %+v", n, o.ObjectMeta)
	}
	o.Finalizers = nil
	delete(o.Annotations, PausedByOwnerAnnotation)
	o.Labels[ControllerLabel] = "other.scaler"
	if _, err := client.UpdateHold(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	want := newClientOwnedHold()
	want.Finalizers = []string{"their/finalizer"}
	delete(want.Annotations, PausedByOwnerAnnotation)
	want.Labels[ControllerLabel] = "other.scaler"
	if diff := cmp.Diff(want, &written); diff != "" {
		t.Errorf("-want +written:\n%s", diff)
	}
	stored.ResourceVersion = "7"
	if _, err := client.UpdateHold(t.Context(), o); !apierrors.IsConflict(err) {
		t.Errorf("a Hold that changed meanwhile: %v", err)
	}
}
