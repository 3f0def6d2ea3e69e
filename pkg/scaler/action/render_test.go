package action

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRenderPlaceholders: a placeholder alone is a number, and a text where the API has only texts: it rejects a number there.
func TestRenderPlaceholders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ apiVersion, kind, merge, want string }{
		"a weight":               {"gateway.networking.k8s.io/v1", "HTTPRoute", `{"spec":{"rules":[{"backendRefs":[{"weight":"<<.Percent>>"},{"weight":"<<.Remainder>>"}]}]}}`, `{"spec":{"rules":[{"backendRefs":[{"weight":30},{"weight":70}]}]}}`},
		"data of a ConfigMap":    {"v1", "ConfigMap", `{"data":{"open":"<<.Percent>>","share":"<<.Remainder>> %"}}`, `{"data":{"open":"30","share":"70 %"}}`},
		"stringData of a Secret": {"v1", "Secret", `{"stringData":{"open":"<<.Percent>>"}}`, `{"stringData":{"open":"30"}}`},
		"data of another kind":   {"example.com/v1", "Split", `{"data":{"weight":"<<.Percent>>"}}`, `{"data":{"weight":30}}`},
		"an annotation":          {"networking.k8s.io/v1", "Ingress", `{"metadata":{"annotations":{"nginx.ingress.kubernetes.io/canary-weight":"<<.Percent>>"}}}`, `{"metadata":{"annotations":{"nginx.ingress.kubernetes.io/canary-weight":"30"}}}`},
		"a label of a template":  {"apps/v1", "Deployment", `{"spec":{"template":{"metadata":{"labels":{"share":"<<.Percent>>"}}}}}`, `{"spec":{"template":{"metadata":{"labels":{"share":"30"}}}}}`},
		"no placeholder":         {"v1", "ConfigMap", `{"data":{"open":"true"}}`, `{"data":{"open":"true"}}`},
	} {
		got, err := (&Patch{APIVersion: c.apiVersion, Kind: c.kind, Name: "x", Merge: json.RawMessage(c.merge)}).RenderMerge(30)
		if diff := cmp.Diff(c.want, string(got)); diff != "" || err != nil {
			t.Errorf("%s (-want +got):\n%s%v", name, diff, err)
		}
	}
}
