// A Prometheus-compatible server that was taken over: its answers are read by the adapter, again and again.

package attack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

const serverJSON = "application/json"

// serverAnswers are answers of a server in which no value is. Each writes until the adapter has enough.
var serverAnswers = []func(http.ResponseWriter, *http.Request){
	// Small results, which take many times their bytes once they are decoded.
	func(rw http.ResponseWriter, r *http.Request) {
		writeServerEndlessly(rw, r, `{"status":"success","data":{"resultType":"vector","result":[`, `{"metric":{"a":""},"value":[1,"1"]},`)
	},
	func(rw http.ResponseWriter, r *http.Request) {
		writeServerEndlessly(rw, r, `{"status":"success","warnings":[`, `"",`)
	},
	func(rw http.ResponseWriter, r *http.Request) { writeServerEndlessly(rw, r, `{"status":"`, "x") },
	func(rw http.ResponseWriter, r *http.Request) { writeServerEndlessly(rw, r, "", "[") },
	func(rw http.ResponseWriter, r *http.Request) {
		writeServerKeys(rw, `{"status":"success","data":{`)
	},
	func(rw http.ResponseWriter, r *http.Request) {
		writeServerKeys(rw, `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"],"metric":{`)
	},
	// Compressed.
	func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", serverJSON)
		rw.Header().Set("Content-Encoding", "gzip")
		for range 64 {
			if _, err := rw.Write(rawBomb); err != nil {
				return
			}
		}
	},
	// Headers.
	func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("X", strings.Repeat("x", 8<<20))
	},
	func(rw http.ResponseWriter, _ *http.Request) {
		for i := range 50_000 {
			rw.Header().Set(fmt.Sprint("X-", i), "x")
		}
	},
	// A length, and a byte a second.
	func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", serverJSON)
		rw.Header().Set("Content-Length", fmt.Sprint(32<<20))
		for retry.Sleep(r.Context(), time.Second) {
			if _, err := rw.Write([]byte("{")); err != nil {
				return
			}
			if f, ok := rw.(http.Flusher); ok {
				f.Flush()
			}
		}
	},
	// Errors for people.
	func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", serverJSON)
		_, _ = rw.Write([]byte(`{"status":"error","errorType":"\u001b[2J","error":"` + strings.Repeat(`\u001b]0;\u0007\u202e`, 100_000) + `"}`))
	},
	func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "http://169.254.169.254/", http.StatusFound)
	},
}

func writeServerEndlessly(rw http.ResponseWriter, r *http.Request, begin, piece string) {
	rw.Header().Set("Content-Type", serverJSON)
	_, err := rw.Write([]byte(begin))
	for pieces := []byte(strings.Repeat(piece, 10_000)); err == nil && r.Context().Err() == nil; {
		_, err = rw.Write(pieces)
	}
}

// writeServerKeys writes ever new keys of an object.
func writeServerKeys(rw http.ResponseWriter, begin string) {
	rw.Header().Set("Content-Type", serverJSON)
	_, err := rw.Write([]byte(begin))
	for i := 0; err == nil && i < 1_000_000; i++ {
		_, err = fmt.Fprintf(rw, "\"%d\":\"\",", i)
	}
}

// startHostileServer serves serverAnswers in turn, and returns a configuration that names the server.
func startHostileServer(t *testing.T) (config string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	port := startPages(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		serverAnswers[int(asked.Add(1))%len(serverAnswers)](rw, r)
	}))
	config = filepath.Join(t.TempDir(), "config.yaml")
	text := "apiVersion: config.tachometer.dev/v1alpha1\nkind: " + domain.AdapterConfigKind + "\nbackends:\n- name: server\n  url: http://127.0.0.1:" + port +
		"\nrules:\n- metric: queue\n  external: true\n  backend: server\n  query: sum by (namespace, queue) (queue)\n- metric: " + goodMetric +
		"\n  query: sum by (namespace, pod) (rate(" + goodFamily + "[$window]))\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config, asked
}

// TestHostileServer: a server that was taken over fills no memory, reaches no terminal, and costs no HPA of pods a read.
func TestHostileServer(t *testing.T) {
	joinShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	config, asked := startHostileServer(t)
	a := startAttackedAdapter(t, kube, "--config", config)
	a.awaitGoodReads()
	ctx, cancel := context.WithTimeout(t.Context(), attackTime(30*time.Second))
	defer cancel()
	var readers sync.WaitGroup
	for n := range 16 {
		readers.Go(func() {
			for i := n; ctx.Err() == nil; i += 16 {
				path := "/apis/external.metrics.k8s.io/v1beta1/namespaces/evil/queue?labelSelector=" + url.QueryEscape(fmt.Sprintf("a!=%d", i))
				code, body, _ := a.get(ctx, evilReader, path)
				if code == http.StatusOK || strings.ContainsAny(body, "\x1b\x07\u202e") || strings.Contains(body, `\u001b`) || len(body) > 4<<10 {
					t.Errorf("%d: %.300q", code, body)
					return
				}
			}
		})
	}
	readers.Wait()
	t.Logf("the server was asked %d times", asked.Load())
	if asked.Load() < int64(len(serverAnswers)) && !testing.Short() {
		t.Errorf("the server was asked %d times, want each answer once", asked.Load())
	}
	a.judge()
}
