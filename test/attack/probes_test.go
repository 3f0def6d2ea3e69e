// Probes of the kubelet, beside floods of everybody else.

package attack

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// probeSlowest is the bound of a probe. The shipped manifests give one 2 s and let it fail twice; continuous integration may be so busy that
	// a process waits for a processor as long.
	probeSlowest = time.Second
	probeHost    = 201 // the address of the node: 127.0.0.201
	probeRate    = 20  // probes a second: forty times the rate of the shipped manifests
	probeWorkers = 4
)

var probePaths = []string{"/readyz", "/livez", "/healthz"}

// probeDoors sends probes as a kubelet does: each over a connection of its own, without credentials, and from an address of its own.
func (w *doorWorld) probeDoors(ctx context.Context, t *testing.T, d time.Duration) doorReads {
	t.Helper()
	var n atomic.Int64
	return measureRequests(probeWorkers, probeRate, d, func() error {
		client, err := newDoorClient(w.Certificate(), probeHost)
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		client.Timeout = 10 * time.Second // to see by how much a probe is late
		_, err = askDoor(ctx, client, w.URL+probePaths[n.Add(1)%int64(len(probePaths))], http.Header{"User-Agent": {"kube-probe/1.36"}})
		return err
	})
}

// judgeProbes holds the adapter to the bound of a probe.
func judgeProbes(t *testing.T, got doorReads) {
	t.Helper()
	if got.failed > 0 && (!testing.Short() || !isLateProbe(got.failure)) {
		t.Errorf("%d of %d probes failed, such as: %v", got.failed, got.all, got.failure)
	}
	if got.max > probeSlowest && !testing.Short() {
		t.Errorf("the slowest probe took %v, bound %v", got.max, probeSlowest)
	}
}

func isLateProbe(err error) bool {
	return os.IsTimeout(err) || errors.Is(err, context.DeadlineExceeded)
}
