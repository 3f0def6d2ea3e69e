package fieldlimit_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
)

// serve returns the address of a server that answers each request with the number of its header's fields and the bytes of its body.
func serve(t *testing.T, listener net.Listener) string {
	t.Helper()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintln(w, len(r.Header), len(body), err, r.TLS != nil, r.ProtoMajor)
	})}
	ended := make(chan error, 1)
	go func() { ended <- fieldlimit.Serve(server, listener) }()
	t.Cleanup(func() { _ = server.Close(); <-ended })
	return listener.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func newFields(count int) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, "%x:\r\n", i)
	}
	return b.String()
}

// TestServe: on one connection, requests at the bound are served again and again, whatever lines their bodies have, and a header above it
// ends the connection before the header does.
func TestServe(t *testing.T) {
	t.Parallel()
	lines := strings.Repeat("\n", 1000) + strings.Repeat("x\n\n", 1000)
	body := fmt.Sprintf("Content-Length: %d\r\n", len(lines))
	chunked := fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(lines), lines)
	const start = "POST / HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		requests []string // each is written once the last is answered
		want     []string // the body; empty: the connection ends with a 4xx or no answer
	}{
		"few fields":                 {[]string{start + newFields(5) + "\r\n"}, []string{"5 0 <nil> false 1"}},
		"at the bound, and again":    {[]string{start + newFields(198) + "\r\n", start + newFields(198) + "\r\n"}, []string{"198 0 <nil> false 1", "198 0 <nil> false 1"}},
		"above the bound, unended":   {[]string{start + newFields(199)}, []string{""}},
		"above the bound, later":     {[]string{start + "\r\n", start + newFields(199)}, []string{"0 0 <nil> false 1", ""}},
		"thousands":                  {[]string{start + newFields(8000)}, []string{""}},
		"lines without CR":           {[]string{"GET / HTTP/1.1\nHost: x\n" + strings.Repeat("a:\n", 199)}, []string{""}},
		"continued lines":            {[]string{start + "A: a\r\n" + strings.Repeat(" b\r\n", 300)}, []string{""}},
		"a body of many lines":       {[]string{start + body + "\r\n" + lines, start + newFields(5) + "\r\n"}, []string{"1 4000 <nil> false 1", "5 0 <nil> false 1"}},
		"a chunked body":             {[]string{start + chunked, start + newFields(5) + "\r\n"}, []string{"0 4000 <nil> false 1", "5 0 <nil> false 1"}},
		"an expected body":           {[]string{start + body + "Expect: 100-continue\r\n\r\n" + lines}, []string{"2 4000 <nil> false 1"}},
		"blank lines after a POST":   {[]string{start + "\r\n", "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n" + newFields(199)}, []string{"0 0 <nil> false 1", ""}},
		"blank lines do not hide it": {[]string{start + "\r\n", "\n\r\n\nGET / HTTP/1.1\r\nHost: x\r\n" + newFields(2) + "\r\n"}, []string{"0 0 <nil> false 1", "2 0 <nil> false 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", serve(t, listen(t)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			reader := bufio.NewReader(conn)
			for i, request := range c.requests {
				if _, err := io.WriteString(conn, request); err != nil && c.want[i] != "" {
					t.Fatal(err)
				}
				got, err := readAnswer(reader)
				if got != c.want[i] {
					t.Errorf("request %d: answer %q, %v; want %q", i, got, err, c.want[i])
				}
			}
		})
	}
}

// TestServePipelined: requests that do not wait for each other's responses are served wherever the reads of the server divide them, whatever
// lines their bodies have, and a header above the bound ends the connection.
func TestServePipelined(t *testing.T) {
	t.Parallel()
	lines := strings.Repeat("x\n", 2000)
	post := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(lines), lines)
	above := "POST / HTTP/1.1\r\nHost: x\r\n" + newFields(3000) + "\r\n"
	const get, bufferBytes = "GET / HTTP/1.1\r\nHost: x\r\nA: \r\n\r\n", 4 << 10 // net/http's buffer
	const filled, posted = "1 0 <nil> false 1", "1 4000 <nil> false 1"
	address := serve(t, listen(t))
	for rest := range 60 { // of the first read, after the first request
		filler := strings.Replace(get, "A: ", "A: "+strings.Repeat("a", bufferBytes-rest-len(get)), 1)
		for requests, want := range map[string][]string{
			filler + post + post + filler: {filled, posted, posted, filled},
			filler + post + above:         {filled, posted},
		} {
			if got := exchangePipelined(t, address, requests); !slices.Equal(got, want) {
				t.Errorf("%d bytes of a read are left: %q; want %q", rest, got, want)
			}
		}
	}
}

// exchangePipelined returns the answers to requests that are written at once.
func exchangePipelined(t *testing.T, address, requests string) (answers []string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		_, _ = io.WriteString(conn, requests)
		_ = conn.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it was dialled as TCP
	}()
	for reader := bufio.NewReader(conn); ; {
		answer, err := readAnswer(reader)
		if answer == "" || err != nil {
			return answers
		}
		answers = append(answers, answer)
	}
}

// readAnswer returns the body of a response with status 200, else "". It skips 100 Continue.
func readAnswer(reader *bufio.Reader) (string, error) {
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return "", err
		}
		if response.StatusCode == http.StatusContinue {
			continue
		}
		body, err := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusOK {
			return "", err
		}
		return strings.TrimSpace(string(body)), err
	}
}

// TestServeTLS: requests know their TLS connection, and HTTP/2 is left alone.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	source := httptest.NewUnstartedServer(nil)
	source.StartTLS()
	defer source.Close()
	for protocol, want := range map[string]string{"http/1.1": "2 0 <nil> true 1", "h2": "2 0 <nil> true 2"} {
		base := &tls.Config{Certificates: source.TLS.Certificates, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS13}
		client := source.Client().Transport.(*http.Transport).Clone() //nolint:forcetypeassert // httptest's own
		client.ForceAttemptHTTP2 = protocol == "h2"
		response, err := (&http.Client{Transport: client}).Get("https://" + serve(t, handshaken{listen(t), base}))
		if err != nil {
			t.Fatal(protocol, err)
		}
		got, err := io.ReadAll(response.Body)
		if _ = response.Body.Close(); strings.TrimSpace(string(got)) != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", protocol, got, err, want)
		}
		client.CloseIdleConnections()
	}
}

// handshaken is a listener that completes the handshakes, as the adapter's.
type handshaken struct {
	net.Listener
	config *tls.Config
}

func (l handshaken) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	secured := tls.Server(c, l.config)
	return secured, secured.Handshake()
}

// TestPlainHTTP: a client that forgets the s of https is told.
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	source := httptest.NewUnstartedServer(nil)
	source.StartTLS()
	defer source.Close()
	config := &tls.Config{Certificates: source.TLS.Certificates, MinVersion: tls.VersionTLS13}
	response, err := http.Get("http://" + serve(t, tls.NewListener(listen(t), config)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); response.StatusCode != http.StatusBadRequest || !strings.Contains(string(got), "HTTPS server") {
		t.Errorf("%s %s, %v", response.Status, got, err)
	}
}
