package attack

import (
	"testing"

	"github.com/tachometer-metrics/tachometer/test/harness/listing"
)

// TestListBuildsNothing: a list of the tests neither builds the adapter nor makes a folder.
func TestListBuildsNothing(t *testing.T) {
	t.Parallel()
	listing.ExpectNoSetUp(t)
}
