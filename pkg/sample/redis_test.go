package sample

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// redisServer is a real Redis on a loopback address that no other process uses: its port stays its own while it is killed.
type redisServer struct {
	t          *testing.T
	bin        string
	host, port string
	cmd        *exec.Cmd
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("SKIPPED: needs a real Redis, and redis-server is not in PATH; on Debian: apt-get install redis-server")
	}
	pid := os.Getpid() // at most 22 bits
	l, err := net.Listen("tcp", net.JoinHostPort(net.IPv4(127, byte(64+pid>>16), byte(pid>>8), byte(pid)).String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r := &redisServer{t: t, bin: bin, host: host, port: port}
	r.startServer()
	t.Cleanup(r.killServer)
	return r
}

func (r *redisServer) redisAddress() string { return net.JoinHostPort(r.host, r.port) }

func (r *redisServer) startServer() {
	r.t.Helper()
	r.cmd = exec.Command(r.bin, "--bind", r.host, "--port", r.port, "--save", "", "--appendonly", "no", "--dir", r.t.TempDir())
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	waitForRedis(r.t, "Redis listens", func() error {
		conn, err := net.Dial("tcp", r.redisAddress())
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

// waitForRedis waits until ok returns nil. The timeout of the whole run is its only bound.
func waitForRedis(t *testing.T, what string, ok func() error) {
	t.Helper()
	t.Logf("waits for: %s", what)
	for ok() != nil {
		<-time.After(20 * time.Millisecond)
	}
}

// newRedisTest returns the handler of a service that waits for Redis up to the timeout, without another bound.
func newRedisTest(t *testing.T, addr string, timeout time.Duration) http.Handler {
	t.Helper()
	s, h := newTestService(t, func(c *Config) {
		c.RedisAddr, c.RedisPoolSize, c.RateLimit = addr, 4, 0
		c.RedisTimeout, c.RequestTimeout = timeout, time.Hour
	})
	t.Cleanup(s.closeOrderStore)
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
	h := newRedisTest(t, server.redisAddress(), time.Hour)
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
	if err := expectCode(h, post(), 503); err != nil { // at once: the timeout is an hour
		t.Error(err)
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
	h := newRedisTest(t, server.redisAddress(), time.Hour)
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
	h := newRedisTest(t, silent.Addr().String(), 100*time.Millisecond)
	if err := expectCode(h, newTestRequest(t, http.MethodGet, "/orders/"+strings.Repeat("A", 26), ""), 503); err != nil { // but for its timeout it waits for an hour
		t.Error(err)
	}
}
