// Answers to a scrape that no HTTP server of Go would give.

package attack

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const rawPageOK = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"

// rawAnswers are answers in which no honest sample is. Each writes until the scraper has enough; the second answer of "two answers" is
// not asked for.
var rawAnswers = map[string]func(net.Conn){
	"1xx without end":             func(c net.Conn) { writeRawEndlessly(c, "", "HTTP/1.1 100 Continue\r\n\r\n") },
	"early hints without end":     func(c net.Conn) { writeRawEndlessly(c, "", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") },
	"status line without end":     func(c net.Conn) { writeRawEndlessly(c, "HTTP/1.1 200 ", "OK") },
	"header name without end":     func(c net.Conn) { writeRawEndlessly(c, rawPageOK, "x") },
	"header fields without end":   func(c net.Conn) { writeRawEndlessly(c, rawPageOK, "X: y\r\n") },
	"chunk extension without end": func(c net.Conn) { writeRawEndlessly(c, rawPageOK+"Transfer-Encoding: chunked\r\n\r\n5;", "x=y;") },
	"chunk size without end":      func(c net.Conn) { writeRawEndlessly(c, rawPageOK+"Transfer-Encoding: chunked\r\n\r\n", "0") },
	"chunks of a byte": func(c net.Conn) {
		writeRawEndlessly(c, rawPageOK+"Transfer-Encoding: chunked\r\n\r\n", "1;x=y\r\n\n\r\n")
	},
	"trailers without end": func(c net.Conn) {
		writeRawEndlessly(c, rawPageOK+"Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n")
	},
	"huge chunk": func(c net.Conn) {
		writeRawEndlessly(c, rawPageOK+"Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n", "other 1\n")
	},
	"negative length": func(c net.Conn) { _, _ = io.WriteString(c, rawPageOK+"Content-Length: -1\r\n\r\na 99\n") },
	"greatest length": func(c net.Conn) {
		writeRawEndlessly(c, rawPageOK+"Content-Length: 9223372036854775807\r\n\r\n", "other 1\n")
	},
	"length too great": func(c net.Conn) {
		_, _ = io.WriteString(c, rawPageOK+"Content-Length: 99999999999999999999\r\n\r\na 99\n")
	},
	"two lengths": func(c net.Conn) {
		_, _ = io.WriteString(c, rawPageOK+"Content-Length: 0\r\nContent-Length: 5\r\n\r\na 99\n")
	},
	"length and chunks": func(c net.Conn) {
		_, _ = io.WriteString(c, rawPageOK+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\na 99\n")
	},
	"two answers": func(c net.Conn) {
		_, _ = io.WriteString(c, rawPageOK+"Content-Length: 0\r\n\r\n"+rawPageOK+"Content-Length: 5\r\n\r\na 99\n")
	},
	"no HTTP": func(c net.Conn) { _, _ = io.WriteString(c, "a 99\n") },
	"codes for people": func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 500 \x1b[2J\x07\x00\u202e\r\nContent-Length: 0\r\n\r\n")
	},
	"gzip bomb": func(c net.Conn) {
		_, _ = fmt.Fprintf(c, "%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", rawPageOK, len(rawBomb))
		_, _ = c.Write(rawBomb)
	},
	"gzip in gzip": func(c net.Conn) {
		writeRawEncoded(c, "gzip, gzip", compressRaw(rawBomb))
	},
	"gzip that says deflate": func(c net.Conn) { writeRawEncoded(c, "deflate", rawBomb) },
	"encodings without end":  func(c net.Conn) { writeRawEncoded(c, strings.Repeat("gzip, ", 1000)+"gzip", rawBomb) },
	"gzip members without end": func(c net.Conn) {
		writeRawEndlessly(c, rawPageOK+"Content-Encoding: gzip\r\n\r\n", string(compressRaw(nil)))
	},
	"gzip header without end": func(c net.Conn) {
		writeRawEndlessly(c, rawPageOK+"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x18\x00\x00\x00\x00\x00\xff", "name")
	},
	"gzip of one line without end": func(c net.Conn) {
		writeRawEndlessly(c, rawPageOK+"Content-Encoding: gzip\r\n\r\n", string(compressRaw(bytes.Repeat([]byte("a{x=\"x"), 10_000))))
	},
	"comments without end":    func(c net.Conn) { writeRawEndlessly(c, rawPageOK+"\r\n", "# x\n") },
	"blank lines without end": func(c net.Conn) { writeRawEndlessly(c, rawPageOK+"\r\n", "\n") },
	"types without end":       func(c net.Conn) { writeRawEndlessly(c, rawPageOK+"\r\n", "# TYPE a counter\n") },
	"help without end":        func(c net.Conn) { writeRawEndlessly(c, rawPageOK+"\r\n# HELP a ", "help ") },
	"a label without end":     func(c net.Conn) { writeRawEndlessly(c, rawPageOK+"\r\na{x=\"", "x") },
	"a name without end":      func(c net.Conn) { writeRawEndlessly(c, rawPageOK+"\r\na", "a") },
	"a label of 10 MB": func(c net.Conn) {
		_, _ = io.WriteString(c, rawPageOK+"Connection: close\r\n\r\na{x=\""+strings.Repeat("x", 10<<20)+"\"} 99\n")
		_ = c.Close()
	},
	"exemplars without end": func(c net.Conn) {
		writeRawEndlessly(c, "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0\r\n\r\n# TYPE a counter\na_total 99 # {x=\"", "x")
	},
	"zstd":         func(c net.Conn) { writeRawEncoded(c, "zstd", append([]byte("\x28\xb5\x2f\xfd"), rawBomb...)) },
	"deflate bomb": func(c net.Conn) { writeRawEncoded(c, "deflate", rawBomb[10:]) },
	"a name in bytes": func(c net.Conn) {
		_, _ = io.WriteString(c, rawPageOK+"Connection: close\r\n\r\n{\"a\xff\xfe\"} 99\n")
		_ = c.Close()
	},
	"a name that looks alike": func(c net.Conn) {
		_, _ = io.WriteString(c, rawPageOK+"Connection: close\r\n\r\n# TYPE \u0430 counter\n{\"\u0430\"} 99\n{\"a\u200b\"} 99\n{\"a\u202e\"} 99\n")
		_ = c.Close()
	},
	"redirects in a ring":        func(c net.Conn) { writeRawRedirect(c, fmt.Sprintf("/%d", time.Now().UnixNano()%2)) },
	"redirect to itself":         func(c net.Conn) { writeRawRedirect(c, "/metrics") },
	"redirect with a user":       func(c net.Conn) { writeRawRedirect(c, "http://root:secret@"+c.LocalAddr().String()+"/metrics") },
	"redirect to another scheme": func(c net.Conn) { writeRawRedirect(c, "file:///etc/passwd") },
	"redirect to another port":   func(c net.Conn) { writeRawRedirect(c, "http://127.0.0.1:1/metrics") },
	"label pairs": func(c net.Conn) {
		_, _ = io.WriteString(c, rawPageOK+"\r\na{")
		for i := range 1_000_000 {
			if _, err := fmt.Fprintf(c, "l%d=\"\",", i); err != nil {
				return
			}
		}
		_, _ = io.WriteString(c, "} 99\n")
		_ = c.Close()
	},
	"numbers": func(c net.Conn) {
		_, _ = io.WriteString(c, rawPageOK+"Connection: close\r\n\r\na{x=\"1\"} 1e"+strings.Repeat("9", 1000)+"x\n")
		_ = c.Close()
	},
	"a byte a second": func(c net.Conn) {
		for _, b := range []byte(rawPageOK + "\r\na 99\n") {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second) //nolint:forbidigo // the attack
		}
	},
}

// rawBomb is 64 KiB that are a thousand times as much when they are read.
var rawBomb = func() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for piece := bytes.Repeat([]byte("a"), 64<<10); b.Len() < 64<<10; {
		_, _ = w.Write(piece) // a buffer takes everything
	}
	_ = w.Close()
	return b.Bytes()
}()

// compressRaw returns data as a gzip member.
func compressRaw(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// writeRawEncoded writes an answer with an encoding.
func writeRawEncoded(c net.Conn, encoding string, body []byte) {
	_, _ = fmt.Fprintf(c, "%sContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n", rawPageOK, encoding, len(body))
	_, _ = c.Write(body)
}

func writeRawEndlessly(c net.Conn, begin, piece string) {
	_, err := io.WriteString(c, begin)
	for pieces := strings.Repeat(piece, 1000); err == nil; {
		_, err = io.WriteString(c, pieces)
	}
}

func writeRawRedirect(c net.Conn, location string) {
	_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: "+location+"\r\nContent-Length: 0\r\n\r\n")
}

// addRawPod adds a pod that answers each request with answer.
func (w *budgetWorld) addRawPod(t *testing.T, pod string, answer func(net.Conn)) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for requests := bufio.NewReader(c); ; {
					if _, err := http.ReadRequest(requests); err != nil {
						return
					}
					answer(c)
				}
			}()
		}
	}()
	w.targets = append(w.targets, metric.Target{
		Namespace: "evil", Pod: pod, Node: "n", UID: pod, URL: "http://" + listener.Addr().String() + "/metrics", Families: []string{"a"},
	})
}

// TestRawAnswers: none of them fills the memory, becomes a sample, reaches a terminal, or keeps a victim from its values.
func TestRawAnswers(t *testing.T) {
	w := startBudgetWorld(t)
	for name, answer := range rawAnswers {
		w.addRawPod(t, name, answer)
	}
	w.addBudgetVictims(t, 5)
	w.scraper.SetTargets(w.targets)
	w.awaitBudgetScrapes(t, 10*time.Second)
	w.checkBudgetHeap(t)
	for name := range rawAnswers {
		d := w.scraper.Diagnose("evil", name, []string{"a"})
		if _, known := w.scraper.FamilyType("evil", name, "a"); known {
			t.Errorf("%s: became a sample: %+v", name, d)
		}
		if strings.ContainsFunc(d.Detail, func(r rune) bool { return r < ' ' || r == '\u202e' }) || strings.Contains(d.Detail, "secret") || len(d.Detail) > 1000 {
			t.Errorf("%s: %+q", name, d.Detail)
		}
		t.Logf("%s: %s %s", name, d.Reason, d.Detail)
	}
}
