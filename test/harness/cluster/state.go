//go:build unix

// The stored data of a cluster, by which another process opens it.

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster/internal/process"
)

// state is the data about a cluster outside its processes, sufficient to use it and to remove it.
type state struct {
	Name         string
	Node         bool
	ExternalName bool // Options.ExternalNameRouting
	Server       string
	Network      network
	Tools        map[string]string // path of each system program that the node uses
	Link         string            // this machine's end of the link to the node
	CGroup       string            // path of the node's containers under every cgroup hierarchy
	Owner        process.ID        // starts the cluster
	Supervisor   process.ID        // its end ends all processes; empty during the start
	Programs     programs
}

var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)

// clusterDir returns the folder of the cluster with the given name.
func clusterDir(base, name string) (string, error) {
	if !validName.MatchString(name) {
		return "", fmt.Errorf("cluster name %q: want up to 40 of a-z, 0-9 and -", name)
	}
	if base == "" {
		cache, err := clusterCacheDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(cache, "clusters")
	}
	dir, err := filepath.Abs(filepath.Join(base, name))
	if err != nil {
		return "", fmt.Errorf("cluster %s: %w", name, err)
	}
	return dir, nil
}

func (c *Cluster) writeClusterState() error {
	data, err := json.MarshalIndent(c.state, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.clusterFilePath("state.json.new"), data, 0o600); err != nil {
		return err
	}
	return os.Rename(c.clusterFilePath("state.json.new"), c.clusterFilePath("state.json"))
}

func readClusterState(dir string) (state, error) {
	var s state
	data, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("parse %s: %w", filepath.Join(dir, "state.json"), err)
	}
	return s, nil
}

// isClusterAlive reports whether the cluster is running or starting.
func (s state) isClusterAlive() bool {
	if s.Supervisor.PID != 0 {
		return s.Supervisor.Alive()
	}
	return s.Owner.Alive()
}

// Open returns the named cluster in the folder base (empty: the default), as Start or `cluster up` left it. If no such cluster
// exists, the error is fs.ErrNotExist.
func Open(base, name string) (*Cluster, error) {
	dir, err := clusterDir(base, name)
	if err != nil {
		return nil, err
	}
	s, err := readClusterState(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open cluster %s: %w", name, os.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("open cluster %s: %w", name, err)
	}
	return &Cluster{dir: dir, state: s}, nil
}
