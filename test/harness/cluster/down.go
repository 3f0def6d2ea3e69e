//go:build unix

// The removal of a cluster, and of the remains of dead clusters.

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// downTimeout bounds the removal of a cluster after a failed start.
const downTimeout = 30 * time.Second

// Down ends the cluster and removes its processes, network, cgroups and folder. Any process may call it, for a cluster in any
// condition, and again after an error.
func (c *Cluster) Down(ctx context.Context) error {
	if err := c.endCluster(ctx); err != nil {
		return fmt.Errorf("remove cluster %s: %w", c.state.Name, err)
	}
	if err := removeBusyFolder(ctx, c.dir); err != nil {
		return fmt.Errorf("remove cluster %s: %w", c.state.Name, err)
	}
	return nil
}

// endCluster ends the processes, and with them the node's namespaces. Then it removes the link and the cgroups, which the kernel
// keeps.
func (c *Cluster) endCluster(ctx context.Context) error {
	if err := c.state.Supervisor.Kill(ctx); err != nil {
		return err
	}
	if !c.state.Node {
		// With a node all processes were in the supervisor's process namespace, which has ended.
		if err := c.killRecorded(ctx); err != nil {
			return err
		}
	}
	return errors.Join(c.removeLink(ctx), removeCGroups(ctx, c.state.CGroup))
}

// killRecorded kills components that survived the supervisor, where the kernel does not kill them.
func (c *Cluster) killRecorded(ctx context.Context) error {
	statuses, err := c.readProcessStatuses()
	if err != nil {
		return err
	}
	var errs []error
	for _, status := range statuses {
		if status.Exit == "" {
			errs = append(errs, status.Process.Kill(ctx))
		}
	}
	return errors.Join(errs...)
}

// removeCGroups removes the cgroup at path, with all its children, from every hierarchy.
func removeCGroups(ctx context.Context, path string) error {
	if path == "" {
		return nil
	}
	var errs []error
	// cgroup v2 has one hierarchy at the root; v1 has one in each folder; a hybrid system has both.
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + path)
	for _, root := range append(roots, "/sys/fs/cgroup/"+path) {
		errs = append(errs, removeCGroup(ctx, root))
	}
	return errors.Join(errs...)
}

func removeCGroup(ctx context.Context, root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // the group is already gone
	})
	if err != nil {
		return err
	}
	slices.Reverse(dirs) // children first
	for _, dir := range dirs {
		var last error
		gone := func() bool { // the kernel may still be letting go of a process that has ended
			last = os.Remove(dir)
			return last == nil || errors.Is(last, os.ErrNotExist)
		}
		if err := pollClusterEvery(ctx, 20*time.Millisecond, gone); err != nil {
			return fmt.Errorf("remove cgroup: %w", errors.Join(last, err))
		}
	}
	return nil
}

// removeBusyFolder removes a folder. Its file systems may be in use for a moment after the last process has ended.
func removeBusyFolder(ctx context.Context, dir string) error {
	var last error
	gone := func() bool { last = os.RemoveAll(dir); return last == nil }
	if err := pollClusterEvery(ctx, 50*time.Millisecond, gone); err != nil {
		return errors.Join(last, err)
	}
	return nil
}

// sweepDeadClusters removes the remains of clusters that ended without Down: their processes are already gone.
func sweepDeadClusters(ctx context.Context, base string) error {
	entries, err := os.ReadDir(base)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		dir := filepath.Join(base, entry.Name())
		if !entry.IsDir() || strings.HasSuffix(dir, failedSuffix) {
			continue
		}
		s, err := readClusterState(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if s.isClusterAlive() {
			continue
		}
		if err := (&Cluster{dir: dir, state: s}).Down(ctx); err != nil {
			return err
		}
	}
	return nil
}
