package hold

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// newOldServer returns a client of an API server whose schema has not all fields of a Hold. It drops what it does not know, unless the client asks it not to.
func newOldServer(t *testing.T, stored *int) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var o Object
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
			t.Error(err)
		}
		unknown := ""
		if o.Spec.WindowStart != nil {
			unknown = "spec.windowStart"
		} else if !o.Status.YieldedWindow.IsZero() {
			unknown = "status.yieldedWindow"
		}
		if unknown != "" && r.URL.Query().Get("fieldValidation") == "Strict" {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonBadRequest, Code: http.StatusBadRequest,
				Message: `Hold in version "v1alpha1" cannot be handled as a Hold: strict decoding error: unknown field "` + unknown + `"`,
			})
			return
		}
		*stored++
		o.Spec.WindowStart, o.Status.YieldedWindow = nil, metav1.Time{}
		_ = json.NewEncoder(w).Encode(o)
	}))
	t.Cleanup(server.Close)
	client, err := NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestD5OldSchema: an API server that does not know a field of a Hold stores nothing, and the error names the way out. It would drop the window in which a
// person set a number, and the number would be taken back.
func TestD5OldSchema(t *testing.T) {
	t.Parallel()
	at := metav1.NewTime(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC))
	meta := metav1.ObjectMeta{Namespace: "sale", Name: "shop"}
	window, yielded, plain := &Object{ObjectMeta: meta}, &Object{ObjectMeta: meta}, &Object{ObjectMeta: meta}
	window.Spec.WindowStart, yielded.Status.YieldedWindow = &at, at
	for name, c := range map[string]struct {
		object *Object
		write  func(c *Client, o *Object) (*Object, error)
		field  string
	}{
		"create": {window, func(c *Client, o *Object) (*Object, error) { return c.CreateHold(t.Context(), o) }, "spec.windowStart"},
		"update": {window, func(c *Client, o *Object) (*Object, error) { return c.UpdateHold(t.Context(), o) }, "spec.windowStart"},
		"status": {yielded, func(c *Client, o *Object) (*Object, error) { return c.UpdateHoldStatus(t.Context(), o) }, "status.yieldedWindow"},
		"patch": {window, func(c *Client, _ *Object) (*Object, error) {
			return c.PatchHold(t.Context(), "sale", "shop", []byte(`{"spec":{"windowStart":"2026-11-23T08:00:00Z"}}`))
		}, "spec.windowStart"},
		"known": {plain, func(c *Client, o *Object) (*Object, error) { return c.CreateHold(t.Context(), o) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stored := 0
			_, err := c.write(newOldServer(t, &stored), c.object.DeepCopy())
			if IsSchemaError(err) != (c.field != "") || (stored == 0) != (c.field != "") {
				t.Fatalf("%d stored: %v", stored, err)
			}
			if err != nil && (!strings.Contains(err.Error(), c.field) || !strings.Contains(err.Error(), ApplySchema)) {
				t.Error(err)
			}
		})
	}
}
