// The discovery document of /apis, always in its plain form.

package apiserver

import (
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
)

// withPlainDiscovery answers a request for the aggregated discovery document of /apis with the plain list of groups.
//
// The metrics API library fills only the plain documents. The generic server's aggregated document would be empty, and
// kube-apiserver would show both metrics APIs as empty. After a plain list, kube-apiserver requests the document of each
// version, which is complete.
func withPlainDiscovery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/apis" || r.URL.Path == "/apis/" {
			r = r.Clone(r.Context())
			r.Header.Set("Accept", runtime.ContentTypeJSON)
		}
		next.ServeHTTP(w, r)
	})
}
