package doctor

import (
	"net/http"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestControllerRead: an adapter that answers this user, and not the HPA controller, is broken. Without the right to impersonate, nothing is known.
func TestControllerRead(t *testing.T) {
	t.Parallel()
	const path = "/apis/custom.metrics.k8s.io/v1beta2"
	for name, tc := range map[string]struct {
		answer *metav1.Status
		want   Check
	}{
		"a token that kube-apiserver rejects": {
			newAdapterStatus(http.StatusInternalServerError, metav1.StatusReasonInternalError, `Internal Server Error: "/apis/custom.metrics.k8s.io/v1beta2": Unauthorized`),
			Check{"discovery", path, StatusFail, "the adapter cannot check the HPA controller's rights: kube-apiserver rejects the adapter's token (Unauthorized)",
				"kubectl -n tachometer rollout restart deployment/tachometer-adapter"},
		},
		"another error": {
			newAdapterStatus(http.StatusInternalServerError, metav1.StatusReasonInternalError, "no memory"),
			Check{"discovery", path, StatusFail, "the adapter answers this user, and the HPA controller gets: no memory", "kubectl get --raw " + path + " --as=" + hpaController},
		},
		"no right to impersonate": {newAdapterStatus(http.StatusForbidden, metav1.StatusReasonForbidden, "cannot impersonate"), Check{}},
		"no difference":           {nil, Check{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tc.answer != nil {
				w.controllerAnswers = map[string]any{path: tc.answer}
			}
			report := w.run("web")
			if tc.want == (Check{}) {
				if i := slices.IndexFunc(report.Checks, func(c Check) bool { return c.Status != StatusOK }); i >= 0 {
					t.Errorf("check %+v", report.Checks[i])
				}
				return
			}
			w.checkFirst(report, tc.want)
		})
	}
}
