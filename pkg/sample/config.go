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
	// LogLevel is the lowest level that is logged.
	LogLevel zapcore.Level

	// RedisAddr is where orders are kept; empty means that orders answer 503 and that /readyz does not ask.
	RedisAddr string
	// RedisTimeout bounds one try of one Redis operation: dial, write and read each.
	RedisTimeout time.Duration
	// RedisPoolSize is the most connections to Redis, idle or not.
	RedisPoolSize int
	// OrderTTL is how long an order is kept.
	OrderTTL time.Duration

	// StartJitter is the upper bound of the random wait before the service first says that it is ready.
	StartJitter time.Duration
	// DrainDelay is how long the service goes on serving after SIGTERM while saying that it is not ready.
	DrainDelay time.Duration
	// GracePeriod is the time from SIGTERM to the exit.
	GracePeriod time.Duration

	// RequestTimeout bounds the work for one request.
	RequestTimeout time.Duration
	// WorkMax is the most CPU time that one request may ask for.
	WorkMax time.Duration
	// MaxInFlight is the most user requests served at once; more are answered 503.
	MaxInFlight int
	// RateLimit is the most requests per second that one client address may send; 0 is no limit.
	RateLimit float64
	// Fault is what is wrong with the service, for drills; empty: nothing.
	Fault Fault
}

// Fault is a way to be a bad release.
type Fault string

// The faults.
const (
	FaultSlow  Fault = "slow"  // every user request takes half a second longer
	FaultError Fault = "error" // every user request is answered 500
)

// envVariable is one environment variable: what it means, its default with the reason, and how it is read.
type envVariable struct {
	name, defaultValue, help string
	set                      func(c *Config, value string) error
}

// envVariables is the whole configuration, in the order in which Usage prints it.
func envVariables() []envVariable {
	return []envVariable{
		{"LISTEN_ADDR", ":8080", "address of the service, its probes and /metrics",
			addressSetter(func(c *Config) *string { return &c.ListenAddr })},
		{"PPROF_ADDR", "", "address of net/http/pprof, e.g. 127.0.0.1:6060; empty: off, as it shows memory to whoever asks",
			optionalSetter(addressSetter(func(c *Config) *string { return &c.PprofAddr }))},
		{"LOG_LEVEL", "info", "debug, info, warn or error; each request that succeeds is a line at debug",
			func(c *Config, v string) error { return c.LogLevel.Set(v) }},
		{"REDIS_ADDR", "", "Redis that keeps the orders; empty: /orders answers 503 and /readyz does not ask for Redis",
			optionalSetter(addressSetter(func(c *Config) *string { return &c.RedisAddr }))},
		{"REDIS_TIMEOUT", "500ms", "bound of one dial, write or read: ten times what a slow Redis in the same zone takes",
			durationSetter(func(c *Config) *time.Duration { return &c.RedisTimeout }, time.Millisecond)},
		{"REDIS_POOL_SIZE", "10", "most connections to Redis: 10 pods of it stay far below Redis' own 10,000",
			integerSetter(func(c *Config) *int { return &c.RedisPoolSize })},
		{"ORDER_TTL", "24h", "how long an order is kept, so that Redis does not fill up",
			durationSetter(func(c *Config) *time.Duration { return &c.OrderTTL }, time.Second)},
		{"START_JITTER", "0s", "upper bound of a random wait before the pod is ready: keeps a burst of new pods off the database",
			durationSetter(func(c *Config) *time.Duration { return &c.StartJitter }, 0)},
		{"DRAIN_DELAY", "5s", "how long to go on serving after SIGTERM: time for every node and proxy to learn of it",
			durationSetter(func(c *Config) *time.Duration { return &c.DrainDelay }, 0)},
		{"GRACE_PERIOD", "25s", "from SIGTERM to the exit; less than the pod's terminationGracePeriodSeconds (30)",
			durationSetter(func(c *Config) *time.Duration { return &c.GracePeriod }, time.Second)},
		{"REQUEST_TIMEOUT", "10s", "bound of the work for one request; it must fit between DRAIN_DELAY and GRACE_PERIOD",
			durationSetter(func(c *Config) *time.Duration { return &c.RequestTimeout }, time.Millisecond)},
		{"WORK_MAX_MS", "1000", "most CPU milliseconds that one request to /work may ask for",
			millisecondsSetter(func(c *Config) *time.Duration { return &c.WorkMax })},
		{"MAX_IN_FLIGHT", "1024", "most user requests at once, 503 beyond: a bound on memory",
			integerSetter(func(c *Config) *int { return &c.MaxInFlight })},
		{"RATE_LIMIT", "1000", "most requests per second of one client address, 429 beyond; 0: no limit",
			rateSetter(func(c *Config) *float64 { return &c.RateLimit })},
		{"FAULT", "", "for drills, a bad release: slow (half a second more for each user request) or error (500); empty: none",
			optionalSetter(setFault)},
	}
}

// LoadConfig reads the configuration through lookup, which is os.LookupEnv in the program. A variable that is
// unset or empty has its default. The error, if any, joins every fault, one a line, each beginning with the
// variable's name.
func LoadConfig(lookup func(name string) (string, bool)) (Config, error) {
	var c Config
	var faults []error
	for _, v := range envVariables() {
		value, ok := lookup(v.name)
		if !ok || value == "" {
			value = v.defaultValue
		}
		if err := v.set(&c, value); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", v.name, err))
		}
	}
	if len(faults) == 0 {
		faults = c.checkConflicts()
	}
	if err := errors.Join(faults...); err != nil {
		return Config{}, err
	}
	return c, nil
}

// checkConflicts returns what is wrong between values that are each right.
func (c *Config) checkConflicts() []error {
	var faults []error
	if c.DrainDelay+c.RequestTimeout > c.GracePeriod {
		faults = append(faults, fmt.Errorf("GRACE_PERIOD: %v is less than DRAIN_DELAY %v + REQUEST_TIMEOUT %v: "+
			"a request taken last would be cut off", c.GracePeriod, c.DrainDelay, c.RequestTimeout))
	}
	if c.WorkMax > c.RequestTimeout {
		faults = append(faults, fmt.Errorf("WORK_MAX_MS: %d is more than REQUEST_TIMEOUT %v allows",
			c.WorkMax.Milliseconds(), c.RequestTimeout))
	}
	if c.PprofAddr != "" && c.PprofAddr == c.ListenAddr {
		faults = append(faults, errors.New("PPROF_ADDR: is the address of the service, LISTEN_ADDR"))
	}
	return faults
}

// Usage writes every variable with its default and its meaning to w.
func Usage(w io.Writer) {
	fmt.Fprintln(w, "The service is configured by its environment:")
	for _, v := range envVariables() {
		name := v.name
		if v.defaultValue != "" {
			name += "=" + v.defaultValue
		}
		fmt.Fprintf(w, "  %-22s %s\n", name, v.help)
	}
}

func optionalSetter(set func(*Config, string) error) func(*Config, string) error {
	return func(c *Config, v string) error {
		if v == "" {
			return nil
		}
		return set(c, v)
	}
}

func addressSetter(field func(*Config) *string) func(*Config, string) error {
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

func durationSetter(field func(*Config) *time.Duration, least time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < least || d > maxDuration {
			return fmt.Errorf("%q is not a duration of at least %v, such as 500ms or 10s", v, least)
		}
		*field(c) = d
		return nil
	}
}

func millisecondsSetter(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := parsePositive(v)
		*field(c) = time.Duration(n) * time.Millisecond
		return err
	}
}

func integerSetter(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := parsePositive(v)
		*field(c) = n
		return err
	}
}

// parsePositive reads a whole number from 1 to a million: enough for every bound here, and safe to multiply.
func parsePositive(v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 1_000_000 {
		return 0, fmt.Errorf("%q is not a whole number from 1 to 1000000", v)
	}
	return n, nil
}

func setFault(c *Config, v string) error {
	if c.Fault = Fault(v); c.Fault != FaultSlow && c.Fault != FaultError {
		return fmt.Errorf("%q is neither slow nor error", v)
	}
	return nil
}

func rateSetter(field func(*Config) *float64) func(*Config, string) error {
	return func(c *Config, v string) error {
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil || math.IsNaN(f) || f < 0 || f > 1e9 {
			return fmt.Errorf("%q is not a number of requests per second, 0 or more", v)
		}
		*field(c) = f
		return nil
	}
}
