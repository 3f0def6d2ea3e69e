// This file reads the configuration from the environment.

package sample

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
)

// Config is the service's whole configuration. LoadConfig reads it from the environment.
type Config struct {
	// ListenAddr serves the users' endpoints, the probes and /metrics.
	ListenAddr string
	// PprofAddr serves net/http/pprof; empty switches it off.
	PprofAddr string
	// LogLevel is the lowest logged level.
	LogLevel zapcore.Level

	// RedisAddr is the address of the Redis that keeps orders. If it is empty, /orders answers 503 and /readyz skips
	// the check.
	RedisAddr string
	// RedisTimeout bounds each dial, write and read of a single attempt.
	RedisTimeout time.Duration
	// RedisPoolSize is the maximum number of connections to Redis, idle or not.
	RedisPoolSize int
	// OrderTTL is the lifetime of an order.
	OrderTTL time.Duration

	// StartJitter is the upper bound of the random wait before the service first reports ready.
	StartJitter time.Duration
	// DrainDelay is the time after SIGTERM in which the service still serves but reports not ready.
	DrainDelay time.Duration
	// GracePeriod is the time from SIGTERM to the exit.
	GracePeriod time.Duration

	// RequestTimeout bounds the work for one request.
	RequestTimeout time.Duration
	// WorkMax is the maximum CPU time of one request to /work.
	WorkMax time.Duration
	// MaxInFlight is the maximum number of concurrent user requests; further requests get 503.
	MaxInFlight int
	// RateLimit is the maximum number of requests per second from one client address; 0 means no limit.
	RateLimit float64
	// Fault makes the service a bad release, for drills; empty means no fault.
	Fault Fault
}

// Fault is a kind of bad release.
type Fault string

// The faults.
const (
	FaultSlow  Fault = "slow"  // every user request takes half a second longer
	FaultError Fault = "error" // every user request gets 500
)

// envVariable is an environment variable with its default, help text and setter.
type envVariable struct {
	name, defaultValue, help string
	set                      func(c *Config, value string) error
}

// listEnvVariables returns all variables, in the order of Usage.
func listEnvVariables() []envVariable {
	return []envVariable{
		{"LISTEN_ADDR", ":8080", "address of the service, its probes and /metrics",
			addressEnvSetter(func(c *Config) *string { return &c.ListenAddr })},
		{"PPROF_ADDR", "", "address of net/http/pprof, e.g. 127.0.0.1:6060; empty: off, because it exposes memory to every client",
			optionalEnvSetter(addressEnvSetter(func(c *Config) *string { return &c.PprofAddr }))},
		{"LOG_LEVEL", "info", "debug, info, warn or error; up to 50 requests a second are lines at info, up to 50 with status 5xx lines at error",
			func(c *Config, v string) error { return c.LogLevel.Set(v) }},
		{"REDIS_ADDR", "", "Redis that keeps the orders; empty: /orders answers 503 and /readyz does not check Redis",
			optionalEnvSetter(addressEnvSetter(func(c *Config) *string { return &c.RedisAddr }))},
		{"REDIS_TIMEOUT", "500ms", "limit for one dial, write or read: ten times the latency of a slow Redis in the same zone",
			durationEnvSetter(func(c *Config) *time.Duration { return &c.RedisTimeout }, time.Millisecond)},
		{"REDIS_POOL_SIZE", "10", "maximum connections to Redis: 10 pods stay far below Redis' own limit of 10,000",
			integerEnvSetter(func(c *Config) *int { return &c.RedisPoolSize })},
		{"ORDER_TTL", "24h", "lifetime of an order, so that Redis does not fill up",
			durationEnvSetter(func(c *Config) *time.Duration { return &c.OrderTTL }, time.Second)},
		{"START_JITTER", "0s", "upper bound of a random wait before the pod is ready: keeps a burst of new pods off the database",
			durationEnvSetter(func(c *Config) *time.Duration { return &c.StartJitter }, 0)},
		{"DRAIN_DELAY", "5s", "time to keep serving after SIGTERM, until every node and proxy has learned of it",
			durationEnvSetter(func(c *Config) *time.Duration { return &c.DrainDelay }, 0)},
		{"GRACE_PERIOD", "25s", "from SIGTERM to the exit; less than the pod's terminationGracePeriodSeconds (30)",
			durationEnvSetter(func(c *Config) *time.Duration { return &c.GracePeriod }, time.Second)},
		{"REQUEST_TIMEOUT", "10s", "limit for the work of one request; it must fit between DRAIN_DELAY and GRACE_PERIOD",
			durationEnvSetter(func(c *Config) *time.Duration { return &c.RequestTimeout }, time.Millisecond)},
		{"WORK_MAX_MS", "1000", "maximum CPU milliseconds of one request to /work",
			millisEnvSetter(func(c *Config) *time.Duration { return &c.WorkMax })},
		{"MAX_IN_FLIGHT", "1024", "maximum concurrent user requests, 503 beyond: a bound on memory",
			integerEnvSetter(func(c *Config) *int { return &c.MaxInFlight })},
		{"RATE_LIMIT", "1000", "maximum requests per second from one client address, 429 beyond; 0: no limit",
			rateEnvSetter(func(c *Config) *float64 { return &c.RateLimit })},
		{"FAULT", "", "for drills, a bad release: slow (half a second more for each user request) or error (500); empty: no fault",
			optionalEnvSetter(setHandlerFault)},
	}
}

// LoadConfig reads the configuration through lookup, which is os.LookupEnv in the program. An unset or empty variable
// has its default. The error joins all faults, one per line, each beginning with the variable's name.
func LoadConfig(lookup func(name string) (string, bool)) (Config, error) {
	var c Config
	var faults []error
	for _, v := range listEnvVariables() {
		value, ok := lookup(v.name)
		if !ok || value == "" {
			value = v.defaultValue
		}
		if err := v.set(&c, value); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", v.name, err))
		}
	}
	if len(faults) == 0 {
		faults = c.listConfigConflicts()
	}
	if err := errors.Join(faults...); err != nil {
		return Config{}, err
	}
	return c, nil
}

// listConfigConflicts returns the conflicts between values that are valid on their own.
func (c *Config) listConfigConflicts() []error {
	var faults []error
	if c.DrainDelay+c.RequestTimeout > c.GracePeriod {
		faults = append(faults, fmt.Errorf("GRACE_PERIOD: %v is less than DRAIN_DELAY %v + REQUEST_TIMEOUT %v: "+
			"the last request would be cut off", c.GracePeriod, c.DrainDelay, c.RequestTimeout))
	}
	if c.WorkMax > c.RequestTimeout {
		faults = append(faults, fmt.Errorf("WORK_MAX_MS: %d is more than REQUEST_TIMEOUT %v allows",
			c.WorkMax.Milliseconds(), c.RequestTimeout))
	}
	if c.PprofAddr != "" && c.PprofAddr == c.ListenAddr {
		faults = append(faults, errors.New("PPROF_ADDR: must differ from LISTEN_ADDR"))
	}
	return faults
}

// Usage writes every variable with its default and help text to w.
func Usage(w io.Writer) {
	fmt.Fprintln(w, "Environment variables:")
	for _, v := range listEnvVariables() {
		name := v.name
		if v.defaultValue != "" {
			name += "=" + v.defaultValue
		}
		fmt.Fprintf(w, "  %-22s %s\n", name, v.help)
	}
}

func optionalEnvSetter(set func(*Config, string) error) func(*Config, string) error {
	return func(c *Config, v string) error {
		if v == "" {
			return nil
		}
		return set(c, v)
	}
}

func addressEnvSetter(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		_, port, err := net.SplitHostPort(v)
		if err != nil {
			return fmt.Errorf("%q is not host:port", v)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return fmt.Errorf("%q has no port from 0 to 65535", v)
		}
		*field(c) = v
		return nil
	}
}

// maxDuration keeps sums of two durations far from overflow.
const maxDuration = 10 * 365 * 24 * time.Hour

func durationEnvSetter(field func(*Config) *time.Duration, least time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < least || d > maxDuration {
			return fmt.Errorf("%q is not a duration of at least %v, such as 500ms or 10s", v, least)
		}
		*field(c) = d
		return nil
	}
}

func millisEnvSetter(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := parseEnvInteger(v)
		*field(c) = time.Duration(n) * time.Millisecond
		return err
	}
}

func integerEnvSetter(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := parseEnvInteger(v)
		*field(c) = n
		return err
	}
}

// parseEnvInteger parses a whole number from 1 to a million: enough for every bound here, and safe to multiply.
func parseEnvInteger(v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 1_000_000 {
		return 0, fmt.Errorf("%q is not a whole number from 1 to 1000000", v)
	}
	return n, nil
}

func setHandlerFault(c *Config, v string) error {
	if c.Fault = Fault(v); c.Fault != FaultSlow && c.Fault != FaultError {
		return fmt.Errorf("%q is neither slow nor error", v)
	}
	return nil
}

func rateEnvSetter(field func(*Config) *float64) func(*Config, string) error {
	return func(c *Config, v string) error {
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil || math.IsNaN(f) || f < 0 || f > 1e9 {
			return fmt.Errorf("%q is not a number of requests per second, 0 or more", v)
		}
		*field(c) = f
		return nil
	}
}
