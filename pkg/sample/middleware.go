package sample

import (
	"context"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/didip/tollbooth/v7"
	"github.com/didip/tollbooth/v7/libstring"
	"github.com/didip/tollbooth/v7/limiter"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// trace gives the request its trace ID. While the service drains it also asks the client to open its next
// connection elsewhere: a kept-alive connection is not moved by taking the pod out of the Service.
func (s *Service) trace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, id := withTrace(r.Context(), r.Header.Get("Traceparent"))
		w.Header().Set(traceHeader, id)
		if s.ready.is(draining) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// observe counts and logs what next answers. The route is what the ServeMux below writes into the request's
// Pattern, so the request must reach it as the same *http.Request.
func (s *Service) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s.metrics.inFlight.Inc()
		rec := &recorder{ResponseWriter: w}
		defer func() { // also when the handler panics
			took := time.Since(start)
			s.metrics.inFlight.Dec()
			s.metrics.count(r, rec.status(), took)
			s.logRequest(r, rec.status(), took)
		}()
		next.ServeHTTP(rec, r)
	})
}

func (s *Service) logRequest(r *http.Request, code int, took time.Duration) {
	level := zapcore.DebugLevel
	switch {
	case code >= http.StatusInternalServerError:
		level = zapcore.ErrorLevel
	case code >= http.StatusBadRequest:
		level = zapcore.InfoLevel
	}
	if entry := s.log.Check(level, "request"); entry != nil {
		entry.Write(traceField(r.Context()), zap.String("method", boundedMethod(r.Method)),
			zap.String("route", routeOf(r.Pattern)), zap.Int("code", code), zap.Duration("took", took),
			zap.String("remote", r.RemoteAddr))
	}
}

// recoverPanic turns a panic into a 500 and a line of log: one bad request must not end the others.
func (s *Service) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { //nolint:contextcheck // the trace ID comes from the request's own context
			cause := recover()
			if cause == nil {
				return
			}
			if cause == http.ErrAbortHandler { //nolint:errorlint // net/http's own convention compares the value
				panic(cause)
			}
			s.metrics.panics.Inc()
			s.log.Error("handler panicked", traceField(r.Context()), zap.Any("panic", cause), zap.ByteString("stack", debug.Stack()))
			if rec, ok := w.(*recorder); ok && rec.code != 0 {
				panic(http.ErrAbortHandler) // part of an answer is out: cut it off rather than let it look whole
			}
			writeError(w, r, http.StatusInternalServerError, "internal error")
		}()
		next.ServeHTTP(w, r)
	})
}

// guard keeps one route within the service's bounds: requests at once, requests per client, and time.
// It wraps each route, below the ServeMux, so that what it refuses is counted under the right route.
func (s *Service) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.slots.take() {
			w.Header().Set("Retry-After", "1")
			writeError(w, r, http.StatusServiceUnavailable, "too many requests at once")
			return
		}
		defer s.slots.free()
		if !s.limit.allow(r) {
			w.Header().Set("Retry-After", s.limit.retryAfter)
			writeError(w, r, http.StatusTooManyRequests, "too many requests of one client")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.cfg.RequestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// slots bounds how many requests are served at once.
type slots struct {
	max  int64
	used atomic.Int64
}

func (s *slots) take() bool {
	if s.used.Add(1) <= s.max {
		return true
	}
	s.used.Add(-1)
	return false
}

func (s *slots) free() { s.used.Add(-1) }

// clientLimit bounds the requests per second of each client address with a token bucket that holds one second's worth.
type clientLimit struct {
	buckets    *limiter.Limiter // nil: no limit
	retryAfter string           // seconds until an empty bucket has a token again
}

// bucketTTL is how long a client's bucket is kept. It bounds the memory that many clients take; a bucket made anew
// after it gives its client at most one more second's worth.
const bucketTTL = 10 * time.Minute

func newClientLimit(perSecond float64) *clientLimit {
	if perSecond == 0 {
		return &clientLimit{}
	}
	return &clientLimit{
		buckets:    tollbooth.NewLimiter(perSecond, &limiter.ExpirableOptions{DefaultExpirationTTL: bucketTTL}),
		retryAfter: strconv.Itoa(int(math.Ceil(math.Max(1, 1/perSecond)))),
	}
}

// allow takes a token of r's client. The client is the peer's address, not X-Forwarded-For, which anybody can write:
// behind a proxy the limit is the proxy's. An IPv6 client is its /64.
func (l *clientLimit) allow(r *http.Request) bool {
	if l.buckets == nil {
		return true
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return tollbooth.LimitByKeys(l.buckets, []string{libstring.CanonicalizeIP(host)}) == nil
}
