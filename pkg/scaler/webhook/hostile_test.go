package webhook

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// serveHostile answers the first request of each connection with first, and then with rest again and again, with a pause between.
func serveHostile(t *testing.T, first, rest string, pause time.Duration) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, err := http.ReadRequest(bufio.NewReader(conn)) // a response before the request breaks the connection
				for text := first; err == nil; text = rest {
					_, err = fmt.Fprint(conn, text)
					<-time.After(pause)
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// TestHostileReceivers: whatever a receiver answers, a post ends within its timeout, and takes next to no memory.
func TestHostileReceivers(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	for range 256 {
		_, _ = w.Write(make([]byte, 1<<20))
	}
	_ = w.Close()
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct {
		first, rest string
		pause       time.Duration
		delivered   bool
	}{
		"early hints without an end":      {"", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 0, false},
		"continue without an end":         {"", "HTTP/1.1 100 Continue\r\n\r\n", 0, false},
		"a header without an end":         {ok, "X: y\r\n", 0, false},
		"a header that drips":             {ok, "X: y\r\n", 50 * time.Millisecond, false},
		"a body that drips":               {ok + "Content-Length: 1000000\r\n\r\n", "x", 50 * time.Millisecond, true},
		"a body without an end":           {ok + "Transfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n", 0, true},
		"a chunk extension":               {ok + "Transfer-Encoding: chunked\r\n\r\n5;", strings.Repeat("x=y;", 1000), 0, true},
		"a trailer without an end":        {ok + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n", "X: y\r\n", 0, true},
		"a compressed body of 256 MiB":    {ok + fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", bomb.Len()) + bomb.String(), "", time.Second, true},
		"an error that repeats the bomb":  {"HTTP/1.1 500 No\r\n" + fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", bomb.Len()) + bomb.String(), "", time.Second, false},
		"a redirect to a cloud's secrets": {"HTTP/1.1 307 Go\r\nLocation: http://[::ffff:169.254.169.254]/\r\nContent-Length: 0\r\n\r\n", "", time.Second, false},
	} {
		t.Run(name, func(t *testing.T) { // one at a time, for the memory
			url := serveHostile(t, c.first, c.rest, c.pause)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			client := NewGuardedClient([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
			client.Timeout = time.Second
			err := Post(t.Context(), client, fixedURL(url), nil, []byte("{}"))
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			runtime.ReadMemStats(&after)
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 16<<20 {
				t.Errorf("it took %d MiB", taken>>20)
			}
			if (err == nil) != c.delivered {
				t.Errorf("got %v, want delivered %t", err, c.delivered)
			}
		})
	}
}
