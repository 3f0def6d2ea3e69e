package loopback

import "net"

// Listener accepts connections from this machine only, although it listens on all addresses: all sixteen million loopback addresses lead to
// its server.
type Listener struct{ net.Listener }

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if at, ok := c.LocalAddr().(*net.TCPAddr); ok && at.IP.IsLoopback() {
			return c, nil
		}
		c.Close()
	}
}
