//go:build unix

package cluster

import (
	"fmt"
	"net"
	"net/netip"
)

// network is which addresses and ports a cluster uses.
type network struct {
	// Address is the node's or, without a node, that of this machine where processes of the cluster are reached; 127.0.0.1
	// if the machine has no other.
	Address string
	Bind    string // what the API server listens on
	// HostAddress is where pods and the API server reach processes of this machine.
	HostAddress string
	Pods        string // CIDR; empty without a node
	Services    string // CIDR
	Ports       ports
}

// ports are those of one cluster on its address.
type ports struct{ Etcd, EtcdPeer, API, ControllerManager, Scheduler int }

// nodePorts are the usual ones: a node has a network of its own.
func nodePorts() ports {
	return ports{Etcd: 2379, EtcdPeer: 2380, API: 6443, ControllerManager: 10257, Scheduler: 10259}
}

// nodeNetwork is the numberth of the networks that clusters with a node share out among them.
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

// processNetwork is that of a cluster without a node, on free ports of this machine.
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

// freeClusterPorts gives ports of the loopback address that nobody listens on. Nothing keeps them free until they are used; the system
// hands the same one out again only after all others.
func freeClusterPorts(count int) ([]int, error) {
	free := make([]int, 0, count)
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer listener.Close() // only now, lest one port is handed out twice
		free = append(free, listener.Addr().(*net.TCPAddr).Port)
	}
	return free, nil
}

// machineAddress is an IPv4 address of this machine that an EndpointSlice may name: not loopback, not link-local. Without
// one it is 127.0.0.1.
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

// firstServiceIP is what the API server gives the Service kubernetes.default.
func (n network) firstServiceIP() string {
	return netip.MustParsePrefix(n.Services).Addr().Next().String()
}

// isLoopback tells that no EndpointSlice can name a process of this machine.
func (n network) isLoopback() bool { return netip.MustParseAddr(n.HostAddress).IsLoopback() }

// isBusy tells that one of this machine's own networks overlaps one of n's. Very wide ones (10.0.0.0/8 of a VPN) do not count:
// the cluster's narrower routes go before them.
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
