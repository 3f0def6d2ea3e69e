//go:build unix

// The network link between this machine and a node, and the networks that nodes may use.

package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// clusterLinkName returns the same name for the same folder, so that each removal of a cluster removes the cluster's own link.
func clusterLinkName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "tach" + hex.EncodeToString(sum[:4])
}

// networks is the maximum number of clusters with a node at the same time.
const networks = 256

// chooseNetwork reserves an unused network by adding the route to its pods: the kernel rejects a second route for the same network.
// The link's far end becomes the node's eth0.
func (c *Cluster) chooseNetwork(ctx context.Context) error {
	if err := c.runIPCommand(ctx, "link", "add", c.state.Link, "type", "veth", "peer", "name", c.state.Link+"n"); err != nil {
		return err
	}
	if err := c.runIPCommand(ctx, "link", "set", c.state.Link, "up"); err != nil {
		return err
	}
	var last error
	for number := range networks {
		n := nodeNetwork(number)
		busy, err := n.isBusy()
		if err != nil {
			return err
		}
		if busy {
			continue
		}
		last = c.runIPCommand(ctx, "route", "add", n.Pods, "via", n.Address, "dev", c.state.Link, "onlink")
		if last == nil {
			c.state.Network = n
			return errors.Join(
				c.runIPCommand(ctx, "address", "add", n.HostAddress+"/30", "dev", c.state.Link),
				c.runIPCommand(ctx, "route", "add", n.Services, "via", n.Address, "dev", c.state.Link))
		}
	}
	return fmt.Errorf("find a free network among %d: %w", networks, errors.Join(last, ctx.Err()))
}

// connectNamespace moves the link's far end into the supervisor's network namespace.
func (c *Cluster) connectNamespace(ctx context.Context, supervisorPID int) error {
	return c.runIPCommand(ctx, "link", "set", c.state.Link+"n", "netns", strconv.Itoa(supervisorPID), "name", "eth0")
}

// removeLink removes both ends of the link, if it exists, and with it every route.
func (c *Cluster) removeLink(ctx context.Context) error {
	if c.state.Link == "" {
		return nil
	}
	if _, err := os.Stat("/sys/class/net/" + c.state.Link); err != nil {
		return nil
	}
	err := c.runIPCommand(ctx, "link", "delete", c.state.Link)
	if _, gone := os.Stat("/sys/class/net/" + c.state.Link); gone != nil {
		return nil // the node's end took it away
	}
	return err
}

func (c *Cluster) runIPCommand(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, c.state.Tools["ip"], args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
