// Package loopback gives the servers of a test addresses that no other process takes, neither before they listen nor while they are stopped.
package loopback

import (
	"net"
	"os"
	"sync"
	"testing"
)

// Host returns a loopback address that no other process uses: neither servers of other tests nor the ends of their connections have its
// ports. On a system with no loopback address but the usual one it is that.
func Host() string {
	pid := os.Getpid() // at most 22 bits
	own := net.IPv4(127, byte(64+pid>>16), byte(pid>>8), byte(pid)).String()
	l, err := net.Listen("tcp", net.JoinHostPort(own, "0"))
	if err != nil {
		return "127.0.0.1"
	}
	_ = l.Close()
	return own
}

// chosen has the addresses that ChooseAddress returned.
var chosen sync.Map

// ChooseAddress returns a free address of Host with its port, and none twice.
func ChooseAddress() (string, error) {
	host := Host()
	for {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return "", err
		}
		address := l.Addr().String()
		_ = l.Close()
		if _, taken := chosen.LoadOrStore(address, true); !taken {
			return address, nil
		}
	}
}

// MustChooseAddress is ChooseAddress for a test, which an error ends.
func MustChooseAddress(t testing.TB) string {
	t.Helper()
	address, err := ChooseAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
