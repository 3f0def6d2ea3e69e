package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// testMaxHeaderBytes is the bound of the adapter.
const testMaxHeaderBytes = 64 << 10

func newTestReader() *connResponseReader {
	return (&Client{MaxHeaderBytes: testMaxHeaderBytes}).borrowReader()
}

// readResult is a response as a reader read it.
type readResult struct {
	status             int
	media, encoding    string
	length             int64
	body               string
	headErr, bodyErr   error
	again              bool // the connection may carry another request
	consumed           int  // bytes taken from the connection
	usual, withTrailer bool
}

// countingReader counts the bytes read from it.
type countingReader struct {
	io.Reader
	n int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += n
	return n, err
}

// readByReader reads a response with connResponseReader.
func readByReader(src io.Reader) (got readResult) {
	r, in := newTestReader(), &countingReader{Reader: src}
	r.beginResponse(in)
	defer r.returnReaderBuffers()
	if got.headErr = r.readResponseHeader(); got.headErr != nil {
		return got
	}
	got.usual = r.fallback == nil
	got.status, got.length = r.response.Status, r.response.Length
	got.media, got.encoding = r.response.ContentType, r.response.ContentEncoding
	var body strings.Builder
	for {
		piece, err := r.response.NextPiece()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				got.bodyErr = err
			}
			break
		}
		body.Write(piece)
	}
	got.body = body.String()
	got.withTrailer = r.hasTrailer
	got.again, got.consumed = r.isConnReusable(), in.n
	return got
}

// readByNetHTTP reads a response with net/http.
func readByNetHTTP(input []byte) (want readResult) {
	src := bytes.NewReader(input)
	in := bufio.NewReader(src)
	for range maxInterimResponses + 1 {
		var resp *http.Response
		if resp, want.headErr = http.ReadResponse(in, nil); want.headErr != nil {
			return want
		}
		if want.status = resp.StatusCode; want.status/100 == 1 && want.status != http.StatusSwitchingProtocols {
			want.headErr = errors.New("too many interim responses")
			continue
		}
		want.length = resp.ContentLength
		want.media, want.encoding = resp.Header.Get("Content-Type"), resp.Header.Get("Content-Encoding")
		var body []byte
		body, want.bodyErr = io.ReadAll(resp.Body)
		want.body = string(body)
		want.again = want.bodyErr == nil && !resp.Close && want.status != http.StatusSwitchingProtocols
		want.consumed = len(input) - src.Len() - in.Buffered()
		return want
	}
	return want
}

// normalizeMedia returns a content type without its parameters, in lower case.
func normalizeMedia(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// compareReaders reads the same bytes with connResponseReader and with net/http.
func compareReaders(t *testing.T, input []byte, src io.Reader) {
	t.Helper()
	got, want := readByReader(src), readByNetHTTP(input)
	if (got.headErr == nil) != (want.headErr == nil) {
		t.Fatalf("%q: head read with %v, by net/http with %v", input, got.headErr, want.headErr)
	}
	if got.headErr != nil {
		return
	}
	if normalizeMedia(got.media) != normalizeMedia(want.media) || got.encoding != want.encoding {
		t.Errorf("%q: %q in %q, by net/http %q in %q", input, got.media, got.encoding, want.media, want.encoding)
	}
	if got.status != want.status || got.length != want.length {
		t.Errorf("%q: status %d, length %d; by net/http %d, %d", input, got.status, got.length, want.status, want.length)
	}
	if got.body != want.body && want.bodyErr == nil {
		t.Errorf("%q: body %q, by net/http %q", input, got.body, want.body)
	}
	if got.withTrailer { // connResponseReader ignores trailers: the body is complete
		return
	}
	if (got.bodyErr == nil) != (want.bodyErr == nil) {
		t.Errorf("%q: body read with %v, by net/http with %v", input, got.bodyErr, want.bodyErr)
	}
	if errors.Is(want.bodyErr, io.ErrUnexpectedEOF) && !errors.Is(got.bodyErr, io.ErrUnexpectedEOF) && !errors.Is(got.bodyErr, errMalformedChunks) {
		t.Errorf("%q: a body that breaks off is %v", input, got.bodyErr)
	}
	if got.again && (!want.again || got.consumed != want.consumed) {
		t.Errorf("%q: connection kept after %d bytes; net/http: %v, after %d", input, got.consumed, want.again, want.consumed)
	}
}

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"

// testResponses returns responses of all kinds; true marks the usual kind.
func testResponses() map[string]bool {
	page := strings.Repeat("a 1\n", 5000)
	var chunks strings.Builder
	for i := range 400 {
		piece := page[:i*7%900+1]
		fmt.Fprintf(&chunks, "%x\r\n%s\r\n", len(piece), piece)
	}
	return map[string]bool{
		okHead + "Content-Length: 4\r\n\r\na 1\n":                                                                                    true,
		okHead + "Content-Length: 20000\r\nDate: now\r\n\r\n" + page:                                                                 true,
		okHead + "Content-Length: 20000\r\n\r\n" + page[1:]:                                                                          true, // breaks off
		okHead + "Content-Length: 4\r\n\r\na 1\nHTTP/1.1 200 OK\r\n":                                                                 true, // more than one response
		okHead + "content-length:0\r\nconnection:close\r\n\r\n":                                                                      true,
		okHead + "Content-Length: 4\r\nConnection: Keep-Alive\r\n\r\na 1\n":                                                          true,
		okHead + "Content-Length: 3\r\nContent-Encoding: gzip\r\n\r\nxyz":                                                            true,
		okHead + "Transfer-Encoding: chunked\r\n\r\n" + chunks.String() + "0\r\n\r\n":                                                true,
		okHead + "Transfer-Encoding: chunked\r\n\r\n" + chunks.String():                                                              true, // breaks off
		okHead + "Transfer-Encoding: chunked\r\n\r\n4;a=b \r\na 1\n\r\n0;x\r\n\r\n":                                                  true,
		okHead + "Transfer-Encoding: Chunked\r\n\r\n4 \t\r\na 1\n\r\n00\r\nX: y\r\n\r\n":                                             true,
		okHead + "Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\nX: y\n\r\n":                                                   true,
		okHead + "Transfer-Encoding: chunked\r\n\r\n4\r\na 1\nxx0\r\n\r\n":                                                           true,
		okHead + "Transfer-Encoding: chunked\r\n\r\n4\na 1\n\r\n0\r\n\r\n":                                                           true,
		okHead + "Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n\r\n":                                                              true,
		okHead + "Transfer-Encoding: chunked\r\n\r\n-4\r\na 1\n\r\n0\r\n\r\n":                                                        true,
		okHead + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\na 1\n":                                                        true,
		okHead + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 900)+"\r\n\n\r\n", 40) + "0\r\n\r\n": true,
		okHead + "Transfer-Encoding: chunked\r\n\r\n4;" + strings.Repeat("x", 5000) + "\r\na 1\n\r\n0\r\n\r\n":                       true,

		okHead + "\r\na 1\n":                                                                      false, // ends with the connection
		okHead + "Connection: keep-alive, close\r\n\r\n":                                          false,
		okHead + "Connection: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n":                false,
		okHead + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\n\r\n": false,
		okHead + "Content-Length: 4\r\nContent-Length: 4\r\n\r\na 1\n":                            false,
		okHead + "Content-Length: 4\r\nContent-Length: 5\r\n\r\na 1\n":                            false,
		okHead + "Content-Length: -4\r\n\r\na 1\n":                                                false,
		okHead + "Content-Length: +4\r\n\r\na 1\n":                                                false,
		okHead + "Content-Length:\r\n\r\na 1\n":                                                   false,
		okHead + "Content-Type: text/html\r\nContent-Length: 4\r\n\r\na 1\n":                      false,
		okHead + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n":                              false,
		okHead + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: y\r\n\r\n":              false,
		okHead + " folded\r\nContent-Length: 4\r\n\r\na 1\n":                                      false,
		okHead + "Content-Length : 4\r\n\r\na 1\n":                                                false,
		okHead + "X: \x01\r\nContent-Length: 4\r\n\r\na 1\n":                                      false,
		okHead + "no colon\r\nContent-Length: 4\r\n\r\na 1\n":                                     false,
		okHead + "X: " + strings.Repeat("y", 20_000) + "\r\nContent-Length: 4\r\n\r\na 1\n":       false,
		"HTTP/1.1 200 OK\nContent-Length: 4\n\na 1\n":                                             false,
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na 1\n":                              false,
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\na 1\n":             false,
		"HTTP/1.1 100 Continue\r\n\r\n" + okHead + "Content-Length: 4\r\n\r\na 1\n":               false,
		strings.Repeat("HTTP/1.1 103 Early\r\n\r\n", 9):                                           false,
		"HTTP/1.1 101 Switching Protocols\r\n\r\n":                                                false,
		"HTTP/1.1 204 No Content\r\n\r\n":                                                         false,
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n":                                  false,
		"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno":                                          false,
		"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nno":                                         false,
		"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nno":                                         false,
		"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nno":                                          false,
		"SSH-2.0-OpenSSH\r\n": false,
		"\r\n\r\n":            false,
		"":                    false,
		okHead:                false,
	}
}

// splitIntoReaders gives input as a network might: whole, byte by byte, halved, with its end at once.
func splitIntoReaders(input []byte) []io.Reader {
	return []io.Reader{
		bytes.NewReader(input), iotest.OneByteReader(bytes.NewReader(input)), iotest.HalfReader(bytes.NewReader(input)),
		iotest.DataErrReader(bytes.NewReader(input)),
	}
}

// TestResponse checks that connResponseReader and net/http read responses alike, and that only unusual responses need net/http.
func TestResponse(t *testing.T) {
	t.Parallel()
	for input, usual := range testResponses() {
		for _, src := range splitIntoReaders([]byte(input)) {
			compareReaders(t, []byte(input), src)
		}
		if got := readByReader(strings.NewReader(input)); got.usual != usual {
			t.Errorf("%.300q: usual: %v, want %v", input, got.usual, usual)
		}
	}
}

// TestResponseMutated changes a few bytes or lines of responses at random: connResponseReader and net/http read them alike.
func TestResponseMutated(t *testing.T) {
	t.Parallel()
	var inputs []string
	for input := range testResponses() {
		inputs = append(inputs, input)
	}
	slices.Sort(inputs)
	random := rand.New(rand.NewPCG(1, 2))
	for range 30_000 {
		input := mutateResponse(random, inputs)
		compareReaders(t, input, splitIntoReaders(input)[random.IntN(3)])
		if t.Failed() {
			return
		}
	}
}

const crucialBytes = "\r\n :;,0123456789abcdefABCDEF\x00\t-\x7f\xff"

func mutateResponse(random *rand.Rand, inputs []string) []byte {
	a, b := inputs[random.IntN(len(inputs))], inputs[random.IntN(len(inputs))]
	input := []byte(a[:min(len(a), 600)])
	for range random.IntN(4) {
		if len(input) == 0 {
			break
		}
		at, c := random.IntN(len(input)), crucialBytes[random.IntN(len(crucialBytes))]
		switch random.IntN(5) {
		case 0:
			input[at] = c
		case 1:
			input = slices.Insert(input, at, c)
		case 2:
			input = slices.Delete(input, at, at+1)
		case 3:
			input = input[:at]
		case 4:
			lines := strings.SplitAfter(b[:min(len(b), 600)], "\n")
			input = slices.Insert(input, bytes.LastIndexByte(input[:at], '\n')+1, []byte(lines[random.IntN(len(lines))])...)
		}
	}
	return input
}

func FuzzResponse(f *testing.F) {
	for input := range testResponses() {
		f.Add([]byte(input))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) < testMaxHeaderBytes { // net/http accepts longer headers
			for _, src := range splitIntoReaders(input) {
				compareReaders(t, input, src)
			}
		}
	})
}

// TestResponseCostsNoAllocation checks that reading a response of the usual kind allocates no memory.
func TestResponseCostsNoAllocation(t *testing.T) {
	for name, body := range map[string]string{
		"length": "Content-Length: 8\r\n\r\na 1\nb 2\n",
		"chunks": "Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n4\r\nb 2\n\r\n0\r\n\r\n",
	} {
		response := okHead + body
		r, src := newTestReader(), strings.NewReader(response)
		allocs := testing.AllocsPerRun(100, func() {
			src.Reset(response)
			r.beginResponse(src)
			defer r.returnReaderBuffers()
			if err := r.readResponseHeader(); err != nil {
				t.Fatal(err)
			}
			for {
				if _, err := r.nextHTTPBodyPiece(); err != nil {
					break
				}
			}
			if !r.isConnReusable() {
				t.Fatal("connection lost")
			}
		})
		if allocs > 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
