// Package memorygroup runs programs in memory cgroups, as a container with a memory limit does.
package memorygroup

import (
	"os"
	"path/filepath"
	"strconv"
)

// Make returns the folder of a new memory cgroup with a limit in bytes; empty where none can be made. Root may make one, unless a container
// has the hierarchy read-only. The caller removes the folder once its processes have ended.
func Make(limit int64) (folder string) {
	for _, hierarchy := range []struct{ folder, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, // version 1
		{"/sys/fs/cgroup", "memory.max"},
	} {
		group, err := os.MkdirTemp(hierarchy.folder, "tachometer-test-")
		if err != nil {
			continue
		}
		if os.WriteFile(filepath.Join(group, hierarchy.file), []byte(strconv.FormatInt(limit, 10)), 0o600) == nil {
			return group
		}
		_ = os.Remove(group)
	}
	return ""
}

// Command returns a command line that joins the group, before it has any memory, and then becomes the given command.
func Command(group string, command ...string) []string {
	return append([]string{"sh", "-c", `echo $$ > "$0"/cgroup.procs && exec "$@"`, group}, command...)
}
