// This file wraps the user routes: tracing, observation, panics and limits.

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

// traceHTTPRequests adds a trace ID to the request. While the service drains, it also asks the client to open its next
// connection elsewhere: removing the pod from the Service does not move a kept-alive connection.
func (s *Service) traceHTTPRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, id := withTraceID(r.Context(), r.Header.Get("Traceparent"))
		w.Header().Set(traceHeader, id)
		if s.ready.isInServicePhase(phaseDraining) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// observeHTTPRequests counts and logs the answers of next. The ServeMux below writes the route into the request's Pattern,
// so the request must reach it as the same *http.Request.
func (s *Service) observeHTTPRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s.metrics.inFlight.Inc()
		rec := &statusRecorder{ResponseWriter: w}
		defer func() { // also when the handler panics
			took := time.Since(start)
			s.metrics.inFlight.Dec()
			s.metrics.countHTTPRequest(r, rec.recordedStatusCode(), took)
			s.logHTTPRequest(r, rec.recordedStatusCode(), took)
		}()
		next.ServeHTTP(rec, r)
	})
}

// logHTTPRequest logs a request with its trace ID, up to requestLinesPerSecond. The next line has the number of omitted lines.
func (s *Service) logHTTPRequest(r *http.Request, code int, took time.Duration) {
	level, class := zapcore.InfoLevel, "other"
	if code >= http.StatusInternalServerError {
		level, class = zapcore.ErrorLevel, "5xx"
	}
	if !s.log.Core().Enabled(level) {
		return
	}
	omitted, ok := s.requestLog.AllowLine(class, time.Now())
	if !ok {
		return
	}
	omitted += s.requestLog.TakeSuppressed() // of the other class
	fields := []zap.Field{
		traceIDField(r.Context()), zap.String("method", httpMethodLabel(r.Method)), zap.String("route", httpRouteLabel(r.Pattern)),
		zap.Int("code", code), zap.Duration("took", took), zap.String("remote", r.RemoteAddr),
	}
	if omitted > 0 {
		fields = append(fields, zap.Int("omitted", omitted))
	}
	s.log.Log(level, "Request", fields...)
}

// recoverHandlerPanic turns a panic into a 500 and a log line: a bad request must not end other requests.
func (s *Service) recoverHandlerPanic(next http.Handler) http.Handler {
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
			s.log.Error("Handler panicked", traceIDField(r.Context()), zap.Any("panic", cause), zap.ByteString("stack", debug.Stack()))
			if rec, ok := w.(*statusRecorder); ok && rec.code != 0 {
				panic(http.ErrAbortHandler) // part of the answer is sent: cut it off, so that it does not look complete
			}
			writeResponseError(w, r, http.StatusInternalServerError, "internal error")
		}()
		next.ServeHTTP(w, r)
	})
}

// boundHTTPRequests enforces the limits on concurrent requests, requests per client, and time. It wraps each route, below
// the ServeMux, so that rejected requests count under the right route.
func (s *Service) boundHTTPRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.slots.acquireRequestSlot() {
			w.Header().Set("Retry-After", "1")
			writeResponseError(w, r, http.StatusServiceUnavailable, "too many requests at once")
			return
		}
		defer s.slots.releaseRequestSlot()
		if !s.clientLimiter.allowClientRequest(r) {
			w.Header().Set("Retry-After", s.clientLimiter.retryAfter)
			writeResponseError(w, r, http.StatusTooManyRequests, "too many requests of one client")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.cfg.RequestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// requestSlots bounds the number of concurrent requests.
type requestSlots struct {
	limit int64
	used  atomic.Int64
}

func (s *requestSlots) acquireRequestSlot() bool {
	if s.used.Add(1) <= s.limit {
		return true
	}
	s.used.Add(-1)
	return false
}

func (s *requestSlots) releaseRequestSlot() { s.used.Add(-1) }

// clientLimiter bounds the requests per second of each client address with a token bucket that holds one second's worth.
type clientLimiter struct {
	buckets    *limiter.Limiter // nil: no limit
	retryAfter string           // seconds until an empty bucket has a token again
}

// bucketTTL is the lifetime of a client's bucket. It bounds the memory of many clients; a recreated bucket grants its
// client at most one more second's worth.
const bucketTTL = 10 * time.Minute

func newClientLimiter(perSecond float64) *clientLimiter {
	if perSecond == 0 {
		return &clientLimiter{}
	}
	return &clientLimiter{
		buckets:    tollbooth.NewLimiter(perSecond, &limiter.ExpirableOptions{DefaultExpirationTTL: bucketTTL}),
		retryAfter: strconv.Itoa(int(math.Ceil(math.Max(1, 1/perSecond)))),
	}
}

// allowClientRequest takes a token of r's client. The client is the peer's address, not X-Forwarded-For, which any client can
// forge: behind a proxy the limit applies to the proxy. An IPv6 client is its /64.
func (l *clientLimiter) allowClientRequest(r *http.Request) bool {
	if l.buckets == nil {
		return true
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return tollbooth.LimitByKeys(l.buckets, []string{libstring.CanonicalizeIP(host)}) == nil
}
