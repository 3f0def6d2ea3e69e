//go:build unix

// The addresses and ports of a cluster, and unused ports of this machine.

package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// network has the addresses and ports of a cluster.
type network struct {
	// Address is the node's address. Without a node it is an address of this machine, for the cluster's processes; 127.0.0.1 if the
	// machine has no other.
	Address string
	Bind    string // listen address of the API server
	// HostAddress is the address of this machine's processes, for pods and the API server.
	HostAddress string
	Pods        string // CIDR; empty without a node
	Services    string // CIDR
	Ports       ports
}

// ports are the ports of one cluster on its address.
type ports struct{ Etcd, EtcdPeer, API, ControllerManager, Scheduler int }

// nodePorts returns the usual ports: a node has its own network.
func nodePorts() ports {
	return ports{Etcd: 2379, EtcdPeer: 2380, API: 6443, ControllerManager: 10257, Scheduler: 10259}
}

// nodeNetwork returns one of the networks that clusters with a node share, by its number.
func nodeNetwork(number int) network {
	return network{
		Address:     fmt.Sprintf("10.246.%d.2", number),
		Bind:        "0.0.0.0",
		HostAddress: fmt.Sprintf("10.246.%d.1", number),
		Pods:        fmt.Sprintf("10.244.%d.0/24", number),
		Services:    fmt.Sprintf("10.245.%d.0/24", number),
		Ports:       nodePorts(),
	}
}

// processNetwork returns the network of a cluster without a node, on free ports of this machine.
func processNetwork() (network, error) {
	free, err := freeClusterPorts(5)
	if err != nil {
		return network{}, err
	}
	address := machineAddress()
	return network{
		Address: address, HostAddress: address, Bind: "127.0.0.1", Services: "10.245.0.0/24",
		Ports: ports{Etcd: free[0], EtcdPeer: free[1], API: free[2], ControllerManager: free[3], Scheduler: free[4]},
	}, nil
}

// freeClusterPorts returns unused ports of the loopback address.
func freeClusterPorts(count int) ([]int, error) {
	free := make([]int, 0, count)
	for len(free) < count {
		port, err := FreePort("127.0.0.1")
		if err != nil {
			return nil, err
		}
		if !slices.Contains(free, port) {
			free = append(free, port)
		}
	}
	return free, nil
}

// The ports of FreePort end below the ports that systems give to connections and to listeners at port 0, and below the ports of Services.
const minFreePort, maxFreePort = 10_000, 29_999

// FreePort returns an unused port of a host, at random. It is not reserved, but no connection takes it, and no listener at port 0.
func FreePort(host string) (int, error) {
	var last error
	for range 100 {
		port := minFreePort + rand.IntN(maxFreePort-minFreePort+1)
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		return port, listener.Close()
	}
	return 0, fmt.Errorf("find a free port: %w", last)
}

// machineAddress returns an IPv4 address of this machine that is valid in an EndpointSlice: not loopback, not link-local. Without
// such an address it returns 127.0.0.1.
func machineAddress() string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return "127.0.0.1"
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 {
			continue
		}
		for _, address := range addresses {
			prefix, err := netip.ParsePrefix(address.String())
			if err == nil && prefix.Addr().Is4() && prefix.Addr().IsGlobalUnicast() {
				return prefix.Addr().String()
			}
		}
	}
	return "127.0.0.1"
}

// firstServiceIP returns the address that the API server gives to the Service kubernetes.default.
func (n network) firstServiceIP() string {
	return netip.MustParsePrefix(n.Services).Addr().Next().String()
}

// isLoopback reports whether no EndpointSlice can name a process of this machine.
func (n network) isLoopback() bool { return netip.MustParseAddr(n.HostAddress).IsLoopback() }

// isBusy reports whether a network of this machine overlaps a network of n. Very wide networks (10.0.0.0/8 of a VPN) do not count:
// the cluster's narrower routes take precedence.
func (n network) isBusy() (bool, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false, fmt.Errorf("list this machine's addresses: %w", err)
	}
	ranges := []netip.Prefix{netip.MustParsePrefix(n.Pods), netip.MustParsePrefix(n.Services), netip.MustParsePrefix(n.HostAddress + "/30").Masked()}
	for _, address := range addresses {
		prefix, err := netip.ParsePrefix(address.String())
		if err != nil {
			continue
		}
		for _, r := range ranges {
			if prefix.Bits() >= 16 && r.Overlaps(prefix.Masked()) {
				return true, nil
			}
		}
	}
	return false, nil
}
