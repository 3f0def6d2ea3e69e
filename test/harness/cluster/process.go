//go:build unix

// The running processes of a cluster, and repeated checks of a condition.

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster/internal/supervisor"
)

// pollInterval is the default time between two checks of a condition.
const pollInterval = 20 * time.Millisecond

// pollClusterEvery returns nil as soon as done returns true, or ctx's error.
func pollClusterEvery(ctx context.Context, every time.Duration, done func() bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// readProcessStatuses reads the supervisor's status file; without a file it returns an empty map.
func (c *Cluster) readProcessStatuses() (map[string]supervisor.Status, error) {
	statuses := map[string]supervisor.Status{}
	data, err := os.ReadFile(c.clusterFilePath("processes.json"))
	if errors.Is(err, os.ErrNotExist) {
		return statuses, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &statuses); err != nil {
		return nil, fmt.Errorf("parse %s: %w", c.clusterFilePath("processes.json"), err)
	}
	return statuses, nil
}

// Processes returns the process number, as this machine sees it, of every running component: etcd, kube-apiserver, …, and supervisor,
// whose end ends them all.
func (c *Cluster) Processes() (map[string]int, error) {
	statuses, err := c.readProcessStatuses()
	if err != nil {
		return nil, err
	}
	seenFromHere := func(pid int) (int, bool) { return pid, true }
	if c.state.Node {
		inside := mapInsidePIDs(c.state.Supervisor.PID)
		seenFromHere = func(pid int) (int, bool) { host, ok := inside[pid]; return host, ok }
	}
	pids := map[string]int{}
	for name, status := range statuses {
		if pid, ok := seenFromHere(status.Process.PID); ok && status.Exit == "" {
			pids[name] = pid
		}
	}
	if c.state.Supervisor.Alive() {
		pids["supervisor"] = c.state.Supervisor.PID
	}
	return pids, nil
}

// mapInsidePIDs maps the process numbers inside the process namespace of first to the numbers outside.
func mapInsidePIDs(first int) map[int]int {
	pids := map[int]int{}
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", first))
	if err != nil {
		return pids
	}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		if link, err := os.Readlink(folder + "/ns/pid"); err != nil || link != namespace {
			continue
		}
		status, err := os.ReadFile(folder + "/status")
		if err != nil {
			continue // has ended meanwhile
		}
		_, rest, _ := strings.Cut(string(status), "\nNSpid:")
		line, _, _ := strings.Cut(rest, "\n")
		numbers := strings.Fields(line)
		if len(numbers) < 2 {
			continue
		}
		outside, _ := strconv.Atoi(filepath.Base(folder))
		inside, _ := strconv.Atoi(numbers[len(numbers)-1])
		pids[inside] = outside
	}
	return pids
}
