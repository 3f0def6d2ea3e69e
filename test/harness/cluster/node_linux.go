// The namespaces of a node, and the snapshotter of its images, on Linux.

package cluster

import "syscall"

// overlayMagic is the file system type of an overlay, which cannot hold the layers of another overlay.
const overlayMagic = 0x794c7630

func chooseSnapshotter(dir string) string {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && fs.Type == overlayMagic {
		return "native"
	}
	return "overlayfs"
}

// supervisorAttributes makes the supervisor of a node the first process of its own namespaces. When it ends, all processes, mounts,
// links and packet filter tables of the node end too.
func supervisorAttributes(node bool) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setsid: true}
	if node {
		attributes.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC
	}
	return attributes
}
