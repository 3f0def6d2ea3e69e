// Metric selectors that do not parse, which the library would ignore.

package apiserver

import (
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// metricSelectorParameter selects the series of a custom metric.
const metricSelectorParameter = "metricLabelSelector"

// maxSelectorFaultBytes has room for the parser's reason and its example of a valid value.
const maxSelectorFaultBytes = 400

// rejectBadMetricSelector rejects a metric selector that does not parse. The metrics API library answers it with an internal error.
func rejectBadMetricSelector(next http.Handler, m *metrics) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, metricSelectorParameter) {
			if _, err := labels.Parse(r.URL.Query().Get(metricSelectorParameter)); err != nil {
				rejectFaultyRequest(w, m, &requestFault{reasonSelector, http.StatusBadRequest, metav1.StatusReasonBadRequest,
					metricSelectorParameter + ": " + plaintext.Clip(err.Error(), maxSelectorFaultBytes)})
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
