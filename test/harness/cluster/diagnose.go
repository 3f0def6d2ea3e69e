//go:build unix

// The ends of the logs of a failed start.

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// failedSuffix marks the folder with the logs of a cluster after a failed start.
const failedSuffix = ".failed"

// logLines is the number of log lines shown in an error.
const logLines = 10

// diagnoseStart adds the ends of the components' logs to the cause of a failed start, and keeps the logs.
func (c *Cluster) diagnoseStart(cause error) error {
	kept := c.dir + failedSuffix
	if err := errors.Join(os.RemoveAll(kept), os.Rename(c.clusterFilePath("logs"), kept)); err != nil {
		return errors.Join(cause, err)
	}
	statuses, err := c.readProcessStatuses()
	if err != nil {
		return errors.Join(cause, err)
	}
	var ended []string
	for name, status := range statuses {
		if status.Exit != "" {
			ended = append(ended, name)
		}
	}
	sort.Strings(ended)
	for _, name := range ended {
		path := filepath.Join(kept, name+".log")
		cause = fmt.Errorf("%w\n%s ended (%s); the end of %s:\n%s", cause, name, statuses[name].Exit, path, tailOfClusterLog(path))
	}
	if len(ended) == 0 {
		cause = fmt.Errorf("%w\nevery component was running; their logs are in %s", cause, kept)
	}
	return cause
}

// tailOfClusterLog returns the last lines of a file, or the error if the file is unreadable.
func tailOfClusterLog(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-logLines):], "\n  ")
}
