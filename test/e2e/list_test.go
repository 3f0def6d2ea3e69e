package e2e

import (
	"testing"

	"github.com/tachometer-metrics/tachometer/test/harness/listing"
)

// TestListStartsNoCluster: a list of the tests neither starts a cluster nor looks for one.
func TestListStartsNoCluster(t *testing.T) {
	t.Parallel()
	listing.ExpectNoSetUp(t)
}
