package apiserver

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
)

// otherReplica answers reads of the namespace default as the replica b, and no others.
type otherReplica struct{}

func (otherReplica) ForwardRead(w http.ResponseWriter, read *http.Request) bool {
	if !strings.Contains(read.URL.Path, "/default/") {
		return false
	}
	w.Header().Set(domain.ReplicaHeader, "b")
	_, err := io.WriteString(w, "of b")
	return err == nil
}

// TestOtherReplica: a response of metrics names its replica. A read that asks for another replica than this one is forwarded once its caller is
// authorized, and answered here where no other replica answers.
func TestOtherReplica(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	const pods, external = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/NAMESPACE/pods/*/request_per_second", "/apis/external.metrics.k8s.io/v1beta1/namespaces/NAMESPACE/orders_waiting"
	for name, tc := range map[string]struct {
		user, path, other string
		code              int
		replica           string
	}{
		"any":                    {"reader", pods, "", 200, "a"},
		"another than this one":  {"reader", pods, "a", 200, "b"},
		"an external metric":     {"reader", external, "a", 200, "b"},
		"another than the other": {"reader", pods, "b", 200, "a"},
		"no other answers":       {"reader", strings.Replace(pods, "NAMESPACE", "alone", 1), "a", 200, "a"},
		"without the right":      {"stranger", pods, "a", 403, ""},
		"no metric":              {"reader", "/metrics", "a", 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.addr+strings.Replace(tc.path, "NAMESPACE", "default", 1), http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			read.Header.Set("Authorization", "Bearer "+tc.user)
			read.Header.Set(domain.OtherReplicaHeader, tc.other)
			response, err := r.client().Do(read)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if got := response.Header.Get(domain.ReplicaHeader); err != nil || response.StatusCode != tc.code || got != tc.replica {
				t.Errorf("%d by %q: %s (%v); want %d by %q", response.StatusCode, got, body, err, tc.code, tc.replica)
			}
			if isOther := string(body) == "of b"; isOther != (tc.replica == "b") {
				t.Errorf("body %q", body)
			}
		})
	}
}
