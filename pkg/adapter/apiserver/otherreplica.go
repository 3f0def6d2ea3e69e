// Reads that another replica answers: kube-apiserver may send all requests over one connection, to one replica.

package apiserver

import (
	"net/http"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
)

// ReadForwarder lets another replica answer a read. It is safe for concurrent use.
type ReadForwarder interface {
	// ForwardRead reports false, and has written nothing, if no other replica answers with values.
	ForwardRead(w http.ResponseWriter, read *http.Request) bool
}

// answerByOtherReplica names this replica in the responses of metrics. A read that asks for another replica than this one is forwarded,
// after its caller was authorized here; where no other answers, this one does. A forwarded read asks for none, so it is forwarded once.
func (s *Server) answerByOtherReplica(next http.Handler) http.Handler {
	if s.deps.Replica == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isMetricAPIPath(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		isForwarded := s.deps.Forwarder != nil && r.Method == http.MethodGet && r.Header.Get(domain.OtherReplicaHeader) == s.deps.Replica
		if isForwarded && s.deps.Forwarder.ForwardRead(w, r) {
			return
		}
		w.Header().Set(domain.ReplicaHeader, s.deps.Replica)
		next.ServeHTTP(w, r)
	})
}
