// Clients that have left, by their sockets.

package apiserver

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasClientLeft reports whether the peer of a connection has closed its side, or reset the connection. Bytes before that may be unread. It is false
// for a connection without a socket.
func hasClientLeft(c net.Conn) (left bool) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { // fails for a closed connection, and then the next read says so
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(polled, 0)
		left = err == nil && n > 0 && polled[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return left
}
