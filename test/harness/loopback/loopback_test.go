package loopback

import (
	"net"
	"sync"
	"testing"
)

// TestAddressesStayFree: of many tests that choose at the same time, no two get one address, and a server can listen at each address later.
func TestAddressesStayFree(t *testing.T) {
	t.Parallel()
	all := make([]string, 200)
	var choosing sync.WaitGroup
	for i := range all {
		choosing.Go(func() {
			var err error
			if all[i], err = ChooseAddress(); err != nil {
				t.Error(err)
			}
		})
	}
	choosing.Wait()
	for _, address := range all {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Cleanup(func() { _ = l.Close() })
	}
}
