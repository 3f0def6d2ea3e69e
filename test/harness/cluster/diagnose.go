//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// failedSuffix marks the folder that keeps the logs of a cluster that did not start.
const failedSuffix = ".failed"

// logLines is how much of a log an error shows.
const logLines = 10

// diagnoseStart adds to the reason why a start failed what the components say themselves, and keeps their logs.
func (c *Cluster) diagnoseStart(cause error) error {
	kept := c.dir + failedSuffix
	if err := errors.Join(os.RemoveAll(kept), os.Rename(c.filePath("logs"), kept)); err != nil {
		return errors.Join(cause, err)
	}
	statuses, err := c.readStatuses()
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
		cause = fmt.Errorf("%w\n%s ended (%s); the end of %s:\n%s", cause, name, statuses[name].Exit, path, tailOfFile(path))
	}
	if len(ended) == 0 {
		cause = fmt.Errorf("%w\nevery component was running; their logs are in %s", cause, kept)
	}
	return cause
}

// tailOfFile is the last lines of a file; of one that cannot be read, the reason.
func tailOfFile(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-logLines):], "\n  ")
}
