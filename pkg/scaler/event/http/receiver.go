// Package httpevent receives events over HTTP, from senders with a shared secret.
//
// A sender posts the event to /events with two headers. X-Tachometer-Timestamp is the time in seconds since 1970.
// X-Tachometer-Signature is sha256=HEX, the HMAC-SHA256 of the timestamp, a dot and the body. A CloudEvent in binary mode has its
// attributes in headers, and signs them: the HMAC-SHA256 of the timestamp, a line end, NAME:VALUE and a line end for each ce- header in the
// order of their lower-case names, an empty line, and the body. The response is a JSON object with outcome and, unless the event was
// delivered, error:
//
//	202  the holds of the event are stored on every workload, beyond a crash
//	200  its id was seen before: sending twice is harmless
//	400  it is not an event, matches no rule, or is expired (see the outcome)
//	401  signature or timestamp are missing or wrong, or the timestamp is more than five minutes off
//	409  the hold of a workload was rejected
//	413  the body is longer than 64 KiB
//	429  too many concurrent requests, or the body took long while others came; send it again
//	503  it was not delivered yet: send it again. It may still be delivered
package httpevent

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
	"github.com/tachometer-metrics/tachometer/pkg/logging"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/connlimit"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// The headers of a request.
const (
	TimestampHeader = "X-Tachometer-Timestamp"
	SignatureHeader = "X-Tachometer-Signature"
)

// Path is the path of the endpoint.
const Path = "/events"

// MessageFunc delivers an event, with the errors of event.Handler.HandleMessage. Any other error becomes status 503.
type MessageFunc func(ctx context.Context, m event.Message) error

// Options are the optional settings of a Receiver.
type Options struct {
	// Registerer takes the metrics; nil: no metrics.
	Registerer prometheus.Registerer
	// Listener replaces a listener on the configured address; optional.
	Listener net.Listener
	// MaxConcurrent bounds concurrent deliveries; 0: DefaultMaxConcurrent.
	MaxConcurrent int
	// DeliveryTimeout is how long a request waits for the delivery of its event; 0: DefaultDeliveryTimeout.
	DeliveryTimeout time.Duration
}

const (
	// DefaultMaxConcurrent is enough for few senders with requests of milliseconds.
	DefaultMaxConcurrent = 64
	// DefaultDeliveryTimeout is below the usual client timeout of 10 s, so that clients get the reason.
	DefaultDeliveryTimeout = 8 * time.Second
	// readTimeout lets 64 KiB arrive over a slow line, and ends connections that send no request.
	readTimeout = 5 * time.Second
	// idleTimeout ends idle connections.
	idleTimeout = time.Minute
	// maxHeaderBytes is many times the headers of a sender.
	maxHeaderBytes = 16 << 10
	// maxReading limits the requests with a body on the way, and maxReadingPerAddress the share of an address.
	maxReading, maxReadingPerAddress = 256, 8
	// maxConnections takes about 20 MB; maxAddressConnections is above the deliveries of a sender behind one proxy.
	maxConnections, maxAddressConnections = 512, 128
	// drainTimeout bounds the requests in progress when the receiver stops.
	drainTimeout = 5 * time.Second
)

// Receiver is the HTTP endpoint for events.
type Receiver struct {
	cfg         event.HTTPConfig
	deliver     MessageFunc
	opts        Options
	slots       chan struct{} // of deliveries
	places      *readPlaces
	connections *connlimit.Limiter
	metrics     *metrics
	fileErrors  retry.Throttle
}

// New returns a receiver. It does not listen before Run.
func New(cfg event.HTTPConfig, deliver MessageFunc, opts Options) *Receiver {
	if opts.MaxConcurrent == 0 {
		opts.MaxConcurrent = DefaultMaxConcurrent
	}
	if opts.DeliveryTimeout == 0 {
		opts.DeliveryTimeout = DefaultDeliveryTimeout
	}
	return &Receiver{
		cfg: cfg, deliver: deliver, opts: opts, slots: make(chan struct{}, opts.MaxConcurrent),
		places: newReadPlaces(maxReading, maxReadingPerAddress), connections: connlimit.New(maxConnections, maxAddressConnections),
		metrics: newMetrics(opts.Registerer), fileErrors: retry.Throttle{Interval: fileLogInterval},
	}
}

// Run serves until ctx ends, waits for the requests in progress, and returns nil.
func (r *Receiver) Run(ctx context.Context) error {
	l, err := r.openReceiverListener(ctx)
	if err != nil {
		return err
	}
	s := &http.Server{
		Handler: r.Handler(), ReadTimeout: readTimeout, ReadHeaderTimeout: readTimeout, WriteTimeout: readTimeout + r.opts.DeliveryTimeout + time.Second,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: logging.NewServerLog(),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	r.connections.Apply(s)
	klog.FromContext(ctx).Info("Receiving events over HTTP", "address", l.Addr().String(), "tls", r.cfg.CertFile != "")
	ended := make(chan error, 1)
	go func() { ended <- fieldlimit.Serve(s, l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve events: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if s.Shutdown(last) != nil {
		_ = s.Close() // the senders get no response, and send again
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve events: %w", err)
	}
	return nil
}

func (r *Receiver) openReceiverListener(ctx context.Context) (net.Listener, error) {
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
	pair := &servingPair{certFile: r.cfg.CertFile, keyFile: r.cfg.KeyFile}
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			served, err := pair.readServingPair(time.Now())
			if err != nil && r.fileErrors.Allow("certificate", time.Now()) { // throttled, because any client can trigger it
				klog.FromContext(ctx).Error(err, "Certificate of events over HTTP not read", "served", served != nil)
			}
			if served != nil {
				err = nil
			}
			return served, err
		},
	}), nil
}

// Handler serves POST /events.
func (r *Receiver) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, func(w http.ResponseWriter, req *http.Request) {
		m, rejection := r.readEventRequest(w, req)
		if rejection != nil {
			w.Header().Set("Connection", "close") // the rest of the body may never come
			r.writeEventResponse(w, *rejection)
			return
		}
		r.connections.MarkSigned(req.Context())
		select {
		case r.slots <- struct{}{}:
			defer func() { <-r.slots }()
			ctx, cancel := context.WithTimeout(req.Context(), r.opts.DeliveryTimeout)
			defer cancel()
			r.writeEventResponse(w, outcomeResponse(r.deliver(ctx, m)))
		default:
			r.writeEventResponse(w, eventResponse{statusCode: http.StatusTooManyRequests, Error: "too many events at a time"})
		}
	})
	return mux
}

// eventResponse is a response; its exported fields are the JSON body.
type eventResponse struct {
	statusCode int
	Outcome    event.Outcome `json:"outcome,omitempty"`
	Error      string        `json:"error,omitempty"`
}

// readEventRequest reads a request and checks its signature, or returns the response that rejects it. It takes no slot: only signed events have
// slots.
func (r *Receiver) readEventRequest(w http.ResponseWriter, req *http.Request) (event.Message, *eventResponse) {
	sent, mac, err := parseEventSignature(req.Header, time.Now())
	if err != nil {
		return event.Message{}, &eventResponse{statusCode: http.StatusUnauthorized, Error: err.Error()}
	}
	body, rejection := r.readEventBody(w, req)
	if rejection != nil {
		return event.Message{}, rejection
	}
	known, err := r.readEventSecrets(req.Context())
	if err != nil {
		return event.Message{}, &eventResponse{statusCode: http.StatusServiceUnavailable, Error: "no secret to check the signature with"}
	}
	if !matchesEventSecret(known, signedEventText(sent, req.Header, body), mac) {
		return event.Message{}, &eventResponse{statusCode: http.StatusUnauthorized, Error: wrongSignatureMessage}
	}
	return newRequestMessage(sent, req.Header, body, mac), nil
}

// readEventBody reads the body of a request in a place of its own.
func (r *Receiver) readEventBody(w http.ResponseWriter, req *http.Request) ([]byte, *eventResponse) {
	var interrupted atomic.Bool
	control := http.NewResponseController(w)
	giveBack := r.places.takeReadPlace(connlimit.Peer(req.RemoteAddr), func() {
		interrupted.Store(true)
		_ = control.SetReadDeadline(time.Unix(1, 0)) // an error means that the request has ended
	})
	body, err := io.ReadAll(io.LimitReader(req.Body, event.MaxBytes+1))
	giveBack()
	switch {
	case err != nil && interrupted.Load():
		return nil, &eventResponse{statusCode: http.StatusTooManyRequests, Error: "too many requests at a time"}
	case err != nil:
		return nil, &eventResponse{statusCode: http.StatusBadRequest, Error: "the body ended early"}
	case len(body) > event.MaxBytes:
		return nil, &eventResponse{statusCode: http.StatusRequestEntityTooLarge, Error: fmt.Sprintf("an event has up to %d bytes", event.MaxBytes)}
	}
	return body, nil
}

// newRequestMessage returns a signed request as a message. A request that is sent again has the same signature, and so the same position.
func newRequestMessage(sent string, header http.Header, body, mac []byte) event.Message {
	m := event.Message{Source: event.SourceHTTP, Data: body, Position: "http/" + hex.EncodeToString(mac[:16]), Headers: map[string]string{}}
	if seconds, err := strconv.ParseInt(sent, 10, 64); err == nil {
		m.Time = time.Unix(seconds, 0)
	}
	for name, value := range cloudEventHeaders(header) {
		m.Headers[name] = decodeCloudEventHeader(value)
	}
	return m
}

// decodeCloudEventHeader returns the value of an attribute. The HTTP binding of CloudEvents permits quotes around it, and escapes it.
func decodeCloudEventHeader(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = quotedPairPattern.ReplaceAllString(value[1:len(value)-1], "$1")
	}
	if plain, err := url.PathUnescape(value); err == nil {
		return plain
	}
	return value
}

// quotedPairPattern matches an escaped character between quotes.
var quotedPairPattern = regexp.MustCompile(`\\(.)`)

// outcomeResponse maps the outcome of an event to a response.
func outcomeResponse(err error) eventResponse {
	var rejection *event.OutcomeError
	switch {
	case err == nil:
		return eventResponse{statusCode: http.StatusAccepted, Outcome: event.Delivered}
	case !errors.As(err, &rejection):
		return eventResponse{statusCode: http.StatusServiceUnavailable, Error: "not delivered yet"}
	}
	out := eventResponse{statusCode: http.StatusBadRequest, Outcome: rejection.Outcome, Error: rejection.Reason}
	switch rejection.Outcome {
	case event.Duplicate:
		out.statusCode = http.StatusOK
	case event.Refused:
		out.statusCode = http.StatusConflict
	case event.Undelivered:
		out.statusCode = http.StatusServiceUnavailable
	case event.Delivered, event.Superseded, event.Malformed, event.Unknown, event.Unmatched, event.Expired, event.Future:
	}
	return out
}

func (r *Receiver) writeEventResponse(w http.ResponseWriter, a eventResponse) {
	r.metrics.requests.WithLabelValues(fmt.Sprint(a.statusCode)).Inc()
	if a.statusCode == http.StatusTooManyRequests || a.statusCode == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.statusCode)
	_ = json.NewEncoder(w).Encode(a) // an error means that the sender is gone
}
