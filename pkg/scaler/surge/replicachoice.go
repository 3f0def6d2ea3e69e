// The choice of the adapter's replica that answers a read.

package surge

import (
	"context"
	"net/http"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
)

// replicaChoice belongs to the reads of a context. It is not safe for concurrent use.
type replicaChoice struct {
	other    string // another replica than this one shall answer; empty: any
	answered string // replica that answered the latest read; empty: not told
}

type replicaChoiceKey struct{}

// maxReplicaName is the length of the longest name of a pod. An adapter that tells a longer name has none.
const maxReplicaName = 253

// replicaChooser asks for the replica of a read's choice, and notes the answering replica.
type replicaChooser struct{ next http.RoundTripper }

var _ http.RoundTripper = replicaChooser{}

func contextWithReplicaChoice(ctx context.Context, c *replicaChoice) context.Context {
	return context.WithValue(ctx, replicaChoiceKey{}, c)
}

// RoundTrip implements http.RoundTripper.
func (r replicaChooser) RoundTrip(request *http.Request) (*http.Response, error) {
	choice, isChosen := request.Context().Value(replicaChoiceKey{}).(*replicaChoice)
	if !isChosen {
		return r.next.RoundTrip(request)
	}
	if choice.other != "" {
		request = request.Clone(request.Context())
		request.Header.Set(domain.OtherReplicaHeader, choice.other)
	}
	response, err := r.next.RoundTrip(request)
	if choice.answered = ""; err == nil {
		if name := response.Header.Get(domain.ReplicaHeader); len(name) <= maxReplicaName {
			choice.answered = name
		}
	}
	return response, err
}
