package sample

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

func lookupEnv(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := LoadConfig(lookupEnv(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		ListenAddr: ":8080", LogLevel: zapcore.InfoLevel,
		RedisTimeout: 500 * time.Millisecond, RedisPoolSize: 10, OrderTTL: 24 * time.Hour,
		DrainDelay: 5 * time.Second, GracePeriod: 25 * time.Second,
		RequestTimeout: 10 * time.Second, WorkMax: time.Second, MaxInFlight: 1024, RateLimit: 1000,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestEveryVariableIsRead(t *testing.T) {
	t.Parallel()
	got, err := LoadConfig(lookupEnv(map[string]string{
		"LISTEN_ADDR": "127.0.0.2:80", "PPROF_ADDR": "localhost:6060", "LOG_LEVEL": "debug",
		"REDIS_ADDR": "redis:6379", "REDIS_TIMEOUT": "1s", "REDIS_POOL_SIZE": "3", "ORDER_TTL": "1m",
		"START_JITTER": "2s", "DRAIN_DELAY": "0s", "GRACE_PERIOD": "8s", "REQUEST_TIMEOUT": "7s",
		"WORK_MAX_MS": "50", "MAX_IN_FLIGHT": "2", "RATE_LIMIT": "0",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		ListenAddr: "127.0.0.2:80", PprofAddr: "localhost:6060", LogLevel: zapcore.DebugLevel,
		RedisAddr: "redis:6379", RedisTimeout: time.Second, RedisPoolSize: 3, OrderTTL: time.Minute,
		StartJitter: 2 * time.Second, GracePeriod: 8 * time.Second, RequestTimeout: 7 * time.Second,
		WorkMax: 50 * time.Millisecond, MaxInFlight: 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		env  map[string]string
		want []string // every line of the error, in order
	}{
		{"every fault at once", map[string]string{"LISTEN_ADDR": "8080", "LOG_LEVEL": "loud", "WORK_MAX_MS": "0"}, []string{
			`LISTEN_ADDR: "8080" is not host:port`,
			`LOG_LEVEL: unrecognized level: "loud"`,
			`WORK_MAX_MS: "0" is not a whole number from 1 to 1000000`,
		}},
		{"port", map[string]string{"REDIS_ADDR": "redis:65536", "PPROF_ADDR": "localhost:http"}, []string{
			`PPROF_ADDR: "localhost:http" has no port from 0 to 65535`,
			`REDIS_ADDR: "redis:65536" has no port from 0 to 65535`,
		}},
		{"durations", map[string]string{"START_JITTER": "-1s", "REQUEST_TIMEOUT": "10", "ORDER_TTL": "1000000h"}, []string{
			`ORDER_TTL: "1000000h" is not a duration of at least 1s, such as 500ms or 10s`,
			`START_JITTER: "-1s" is not a duration of at least 0s, such as 500ms or 10s`,
			`REQUEST_TIMEOUT: "10" is not a duration of at least 1ms, such as 500ms or 10s`,
		}},
		{"rate", map[string]string{"RATE_LIMIT": "NaN"}, []string{
			`RATE_LIMIT: "NaN" is not a number of requests per second, 0 or more`,
		}},
		{"fault", map[string]string{"FAULT": "loud"}, []string{`FAULT: "loud" is neither slow nor error`}},
		{"conflicts", map[string]string{"GRACE_PERIOD": "14s", "WORK_MAX_MS": "20000", "PPROF_ADDR": ":8080"}, []string{
			`GRACE_PERIOD: 14s is less than DRAIN_DELAY 5s + REQUEST_TIMEOUT 10s: the last request would be cut off`,
			`WORK_MAX_MS: 20000 is more than REQUEST_TIMEOUT 10s allows`,
			`PPROF_ADDR: must differ from LISTEN_ADDR`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := LoadConfig(lookupEnv(tc.env))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tc.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	Usage(&got)
	golden.Compare(t, "testdata/usage.txt", got.String())
}

func FuzzLoadConfig(f *testing.F) {
	for _, v := range listEnvVariables() {
		f.Add(v.name, v.defaultValue)
	}
	f.Add("DRAIN_DELAY", "87600h")
	f.Add("RATE_LIMIT", "1e-9")
	f.Fuzz(func(t *testing.T, name, value string) {
		c, err := LoadConfig(lookupEnv(map[string]string{name: value}))
		if err != nil {
			if !strings.Contains(err.Error(), ": ") {
				t.Errorf("%s=%q: error %q names no variable", name, value, err)
			}
			return
		}
		if c.DrainDelay+c.RequestTimeout > c.GracePeriod || c.WorkMax <= 0 || c.MaxInFlight < 1 || c.ListenAddr == "" {
			t.Errorf("%s=%q gives %+v", name, value, c)
		}
		newClientLimiter(c.RateLimit) // any accepted rate makes a limit
	})
}
