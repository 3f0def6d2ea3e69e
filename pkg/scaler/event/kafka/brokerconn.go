// Connections to brokers, which check responses before the client decodes them.

package kafka

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net"
	"sync"
)

// brokerConn is a connection to a broker that checks the counts in responses before the client decodes them. The client takes memory for as
// many elements as a response claims, if it has so many bytes: 250 MB for 1.2 MB. It loops over as many tagged fields as a response claims, up to
// four billion, without a byte for each.
type brokerConn struct {
	net.Conn

	mu       sync.Mutex // guards the rest
	requests []brokerRequest
	arrived  []byte // for the check
	reader   *brokerResponseReader
	check    func() (struct{}, bool) // checks what has arrived
	stop     func()
}

// brokerRequest is a request without a response yet. Brokers respond in the order of requests.
type brokerRequest struct{ key, version int16 }

func newBrokerConn(c net.Conn) *brokerConn {
	b := &brokerConn{Conn: c, reader: &brokerResponseReader{}}
	b.check, b.stop = iter.Pull(b.checkResponses)
	return b
}

// checkResponses checks responses until one has a fault. It yields when it needs further bytes.
func (c *brokerConn) checkResponses(yield func(struct{}) bool) {
	r := c.reader
	r.awaitData = func() ([]byte, bool) {
		for len(c.arrived) == 0 {
			if !yield(struct{}{}) {
				return nil, false
			}
		}
		data := c.arrived
		c.arrived = nil
		return data, true
	}
	for r.beginResponse() {
		if len(c.requests) == 0 {
			r.setFault(fmt.Errorf("%w: there is no request", errMalformedResponse))
			return
		}
		to := c.requests[0]
		c.requests = c.requests[1:]
		r.readResponse(to)
	}
}

// Write implements net.Conn. The client writes a request at a time.
func (c *brokerConn) Write(b []byte) (int, error) {
	if len(b) >= 8 {
		c.mu.Lock()
		c.requests = append(c.requests, brokerRequest{int16(binary.BigEndian.Uint16(b[4:])), int16(binary.BigEndian.Uint16(b[6:]))})
		c.mu.Unlock()
	}
	return c.Conn.Write(b)
}

// Read implements net.Conn. It returns no byte from the fault of a response on.
func (c *brokerConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 {
		return 0, err
	}
	c.arrived = b[:n]
	c.check()
	if c.reader.fault != nil {
		return 0, c.reader.fault
	}
	return n, err
}

// Close implements net.Conn.
func (c *brokerConn) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop()
	return err
}
