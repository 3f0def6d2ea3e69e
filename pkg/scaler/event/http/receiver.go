// Package receiver takes events over HTTP, from senders that know a secret.
//
// A sender posts the event to /events with two headers: X-Tachometer-Timestamp, the time in seconds since 1970, and
// X-Tachometer-Signature, sha256=HEX, the HMAC-SHA256 with the secret of the timestamp, a dot, and the body. The answer
// is a JSON object with outcome and, unless the event was delivered, error:
//
//	202  the holds that the event asks for are kept on every target, where a crash does not reach them
//	200  its id was seen before: sending twice is harmless
//	400  it is no event, none that a rule is about, or expired (the outcome says which)
//	401  signature or timestamp are missing or wrong, or the timestamp is more than five minutes off
//	409  a target refused what it asks for
//	413  the body is longer than 64 KiB
//	429  too many requests at a time; send it again
//	503  it was not delivered yet: send it again. It may still be delivered
package httpevent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// The headers of a request.
const (
	TimestampHeader = "X-Tachometer-Timestamp"
	SignatureHeader = "X-Tachometer-Signature"
)

// Path is where events are posted to.
const Path = "/events"

// DeliverFunc delivers an event, as event.Handler does; its errors are those of event.Handler. Any other is answered with 503.
type DeliverFunc func(ctx context.Context, data []byte) error

// Options are what a Receiver does without.
type Options struct {
	// Registerer takes the metrics; nil: none.
	Registerer prometheus.Registerer
	// Listener is used in the place of one for the configured address, if not nil.
	Listener net.Listener
	// MaxConcurrent bounds the requests at a time; 0: DefaultConcurrent.
	MaxConcurrent int
	// DeliveryTimeout is how long a request waits until its event is delivered; 0: DefaultPatience.
	DeliveryTimeout time.Duration
}

const (
	// DefaultMaxConcurrent events at a time: senders are few, and each request is answered in milliseconds.
	DefaultMaxConcurrent = 64
	// DefaultDeliveryTimeout is below the 10 s after which many clients give up, so that they see why.
	DefaultDeliveryTimeout = 8 * time.Second
	// readTimeout is for 64 KiB over a slow line, and ends who only opens connections.
	readTimeout = 5 * time.Second
	// idleTimeout ends connections that nothing is sent over.
	idleTimeout = time.Minute
	// maxHeaderBytes are many times what a sender needs.
	maxHeaderBytes = 16 << 10
	// drainTimeout is how long requests may take that are under way when the receiver stops.
	drainTimeout = 5 * time.Second
)

// Receiver is the endpoint.
type Receiver struct {
	cfg      event.HTTPConfig
	deliver  DeliverFunc
	opts     Options
	slots    chan struct{}
	requests *prometheus.CounterVec

	mu                  sync.Mutex // guards said
	secretErrorLoggedAt time.Time  // when it was last said that there is no secret
}

// New returns an endpoint. It listens to nothing before Run.
func New(cfg event.HTTPConfig, handle DeliverFunc, opts Options) *Receiver {
	if opts.MaxConcurrent == 0 {
		opts.MaxConcurrent = DefaultMaxConcurrent
	}
	if opts.DeliveryTimeout == 0 {
		opts.DeliveryTimeout = DefaultDeliveryTimeout
	}
	return &Receiver{
		cfg: cfg, deliver: handle, opts: opts, slots: make(chan struct{}, opts.MaxConcurrent),
		requests: promauto.With(opts.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "tachometer_scaler_http_requests_total",
			Help: "Requests to the endpoint for events, by the status of the answer.",
		}, []string{"code"}),
	}
}

// Run serves until ctx ends, lets requests that are under way end, and returns nil.
func (r *Receiver) Run(ctx context.Context) error {
	l, err := r.openEventListener(ctx)
	if err != nil {
		return err
	}
	s := &http.Server{
		Handler: r.Handler(), ReadTimeout: readTimeout, ReadHeaderTimeout: readTimeout, WriteTimeout: readTimeout + r.opts.DeliveryTimeout + time.Second,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	klog.FromContext(ctx).Info("taking events over HTTP", "address", l.Addr().String(), "tls", r.cfg.CertFile != "")
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve events: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if s.Shutdown(last) != nil {
		_ = s.Close() // their senders have no answer, and send again
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve events: %w", err)
	}
	return nil
}

func (r *Receiver) openEventListener(ctx context.Context) (net.Listener, error) {
	l := r.opts.Listener
	if l == nil {
		var err error
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", r.cfg.Address); err != nil {
			return nil, fmt.Errorf("listen for events: %w", err)
		}
	}
	if r.cfg.CertFile == "" {
		return l, nil
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(r.cfg.CertFile, r.cfg.KeyFile)
			return &pair, err
		},
	}), nil
}

// Handler serves POST /events.
func (r *Receiver) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, func(w http.ResponseWriter, req *http.Request) {
		select {
		case r.slots <- struct{}{}:
			defer func() { <-r.slots }()
			r.writeEventResponse(w, r.receiveEvent(req))
		default:
			r.writeEventResponse(w, eventResponse{statusCode: http.StatusTooManyRequests, Error: "too many requests at a time"})
		}
	})
	return mux
}

// eventResponse is an answer; its fields are the body.
type eventResponse struct {
	statusCode int
	Outcome    event.Outcome `json:"outcome,omitempty"`
	Error      string        `json:"error,omitempty"`
}

// receiveEvent reads a request, and waits for the delivery of its event.
func (r *Receiver) receiveEvent(req *http.Request) eventResponse {
	now := time.Now()
	sent, mac, err := parseSignatureHeaders(req.Header, now)
	if err != nil {
		return eventResponse{statusCode: http.StatusUnauthorized, Error: err.Error()}
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, event.MaxBytes+1))
	switch {
	case err != nil:
		return eventResponse{statusCode: http.StatusBadRequest, Error: "the body ended early"}
	case len(body) > event.MaxBytes:
		return eventResponse{statusCode: http.StatusRequestEntityTooLarge, Error: fmt.Sprintf("an event has up to %d bytes", event.MaxBytes)}
	}
	known, err := r.readSecrets(req.Context())
	if err != nil {
		return eventResponse{statusCode: http.StatusServiceUnavailable, Error: "no secret is there to check the signature by"}
	}
	if !matchesAnySecret(known, sent, body, mac) {
		return eventResponse{statusCode: http.StatusUnauthorized, Error: "wrong signature: it is the HMAC-SHA256 of timestamp, dot and body"}
	}
	ctx, cancel := context.WithTimeout(req.Context(), r.opts.DeliveryTimeout)
	defer cancel()
	return outcomeResponse(r.deliver(ctx, body))
}

// outcomeResponse is the answer for what became of an event.
func outcomeResponse(err error) eventResponse {
	var refusal *event.OutcomeError
	switch {
	case err == nil:
		return eventResponse{statusCode: http.StatusAccepted, Outcome: event.Delivered}
	case !errors.As(err, &refusal):
		return eventResponse{statusCode: http.StatusServiceUnavailable, Error: "not delivered yet"}
	}
	out := eventResponse{statusCode: http.StatusBadRequest, Outcome: refusal.Outcome, Error: refusal.Reason}
	switch refusal.Outcome {
	case event.Duplicate:
		out.statusCode = http.StatusOK
	case event.Refused:
		out.statusCode = http.StatusConflict
	case event.Undelivered:
		out.statusCode = http.StatusServiceUnavailable
	}
	return out
}

func (r *Receiver) writeEventResponse(w http.ResponseWriter, a eventResponse) {
	r.requests.WithLabelValues(fmt.Sprint(a.statusCode)).Inc()
	if a.statusCode == http.StatusTooManyRequests || a.statusCode == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.statusCode)
	_ = json.NewEncoder(w).Encode(a) // the sender is gone: nobody is left to tell
}
