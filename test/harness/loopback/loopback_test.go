package loopback

import (
	"net"
	"sync"
	"testing"
)

// TestAddressesStayFree: whoever chooses at the same time, no two have one address, and each can be listened at later.
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
