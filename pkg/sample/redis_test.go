package sample

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// redisTestTimeout is far above the service's own bound, three times REDIS_TIMEOUT, and far below having none: it leaves room
// for a machine that is busy with other tests.
const redisTestTimeout = 20 * time.Second

// redisServer is a real Redis on a loopback port.
type redisServer struct {
	t    *testing.T
	bin  string
	port string
	cmd  *exec.Cmd
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("SKIPPED: needs a real Redis, and redis-server is not in PATH; on Debian: apt-get install redis-server")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r := &redisServer{t: t, bin: bin, port: port}
	r.startServer()
	t.Cleanup(r.killServer)
	return r
}

func (r *redisServer) redisAddress() string { return "127.0.0.1:" + r.port }

func (r *redisServer) startServer() {
	r.t.Helper()
	r.cmd = exec.Command(r.bin, "--bind", "127.0.0.1", "--port", r.port, "--save", "", "--appendonly", "no", "--dir", r.t.TempDir())
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	waitForRedis(r.t, "Redis listens", func() error {
		conn, err := net.DialTimeout("tcp", r.redisAddress(), time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

func (r *redisServer) killServer() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
}

// waitForRedis waits until ok returns nil.
func waitForRedis(t *testing.T, what string, ok func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within 20 s: %v", what, err)
		}
	}
}

func newRedisTest(t *testing.T, addr string) http.Handler {
	t.Helper()
	s, h := newTestService(t, func(c *Config) {
		c.RedisAddr, c.RedisPoolSize, c.RateLimit = addr, 4, 0
		c.RequestTimeout = time.Minute // so that it is not what bounds a wait for Redis
	})
	t.Cleanup(s.closeSampleOrderStore)
	return h
}

func expectCode(h http.Handler, r *http.Request, want int) error {
	if got := recordResponse(h, r); got.Code != want {
		return fmt.Errorf("%s %s answers %d %s, want %d", r.Method, r.URL, got.Code, got.Body, want)
	}
	return nil
}

// TestRedisComesAndGoes is not parallel: it sets the Redis client's logger, which is one for the process.
func TestRedisComesAndGoes(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	redis.SetLogger(RedisLogger{Log: zap.New(core)})
	server := startRedis(t)
	h := newRedisTest(t, server.redisAddress())
	post := func() *http.Request {
		return newTestRequest(t, http.MethodPost, "/orders", `{"item":"tachometer","quantity":1}`)
	}
	ready := func() *http.Request { return newTestRequest(t, http.MethodGet, "/readyz", "") }

	created := recordResponse(h, post())
	if created.Code != http.StatusCreated {
		t.Fatalf("POST /orders: %d %s", created.Code, created.Body)
	}
	location := created.Header().Get("Location")
	if read := recordResponse(h, newTestRequest(t, http.MethodGet, location, "")); read.Body.String() != created.Body.String() {
		t.Errorf("read %s, created %s", read.Body, created.Body)
	}
	if err := expectCode(h, ready(), 200); err != nil {
		t.Error(err)
	}

	server.killServer()
	start := time.Now()
	if err := expectCode(h, post(), 503); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > redisTestTimeout {
		t.Errorf("a request waited %v for a Redis that is gone", took)
	}
	waitForRedis(t, "not ready without Redis", func() error { return expectCode(h, ready(), 503) })
	if err := expectCode(h, newTestRequest(t, http.MethodGet, "/", ""), 200); err != nil {
		t.Errorf("what needs no Redis: %v", err)
	}
	if err := expectCode(h, newTestRequest(t, http.MethodGet, "/healthz", ""), 200); err != nil {
		t.Errorf("a restart would not bring Redis back: %v", err)
	}

	server.startServer()
	waitForRedis(t, "orders again", func() error { return expectCode(h, post(), 201) })
	waitForRedis(t, "ready again", func() error { return expectCode(h, ready(), 200) })
	if err := expectCode(h, newTestRequest(t, http.MethodGet, location, ""), 404); err != nil {
		t.Errorf("an order that this Redis never had: %v", err)
	}
	if logs.Len() == 0 {
		t.Error("an outage of Redis left no line in the log")
	}
}

func TestRedisPoolIsBounded(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	h := newRedisTest(t, server.redisAddress())
	var users sync.WaitGroup
	for range 64 {
		users.Go(func() {
			for range 5 {
				if err := expectCode(h, newTestRequest(t, http.MethodPost, "/orders", `{"item":"a","quantity":1}`), 201); err != nil {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
	observer := redis.NewClient(&redis.Options{Addr: server.redisAddress()})
	defer observer.Close()
	info, err := observer.Info(t.Context(), "stats").Result()
	if err != nil {
		t.Fatal(err)
	}
	var opened int
	for line := range strings.Lines(info) {
		_, _ = fmt.Sscanf(line, "total_connections_received:%d", &opened)
	}
	if opened < 1 || opened > 4+2 { // the pool of 4, this observer, and the test's own first look at the port
		t.Errorf("%d connections opened by a pool of 4", opened)
	}
}

func TestRedisThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, as the kernel does, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	h := newRedisTest(t, silent.Addr().String())
	start := time.Now()
	got := recordResponse(h, newTestRequest(t, http.MethodGet, "/orders/"+strings.Repeat("A", 26), ""))
	if took := time.Since(start); got.Code != 503 || took > redisTestTimeout {
		t.Errorf("%d after %v", got.Code, took)
	}
}
