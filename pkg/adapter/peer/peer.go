// Package peer reads from the adapter's other replicas: a request through kube-apiserver reaches one replica, and each records the reads
// that reach it.
package peer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch"
)

const (
	// maxPeers bounds the replicas that are read for one request. The manifests run two.
	maxPeers = 8
	// defaultTimeout: a log comes from memory, and kube-apiserver's caller waits.
	defaultTimeout = 3 * time.Second
	// maxLogBytes bounds the logs of all peers together: a whole record is some thirty times its delta code as JSON.
	maxLogBytes = memorybounds.PeerLogs
	// forwardTimeout is a part of the second in which the surge lane looks: it also has time for this replica's own answer.
	forwardTimeout = 400 * time.Millisecond
	// forwardMemory is the time for which a list of replicas counts. A replica that is gone costs a refused connection.
	forwardMemory = 5 * time.Second
)

// EndpointSlices lists the endpoints of Services. It is safe for concurrent use.
type EndpointSlices interface {
	List(ctx context.Context, opts metav1.ListOptions) (*discoveryv1.EndpointSliceList, error)
}

// Options are the dependencies of a Reader. All but Timeout are required.
type Options struct {
	// EndpointSlices are of the adapter's namespace, and Service the name of its Service there.
	EndpointSlices EndpointSlices
	Service        string
	// ServerName is the name in the replicas' certificates.
	ServerName string
	// Authorities returns certificates in PEM that verify a replica's own one; empty before there are any.
	Authorities func() []byte
	// Cluster has the adapter's credentials for kube-apiserver. A peer lets kube-apiserver verify them, as of every caller.
	Cluster *rest.Config
	// IsSelf reports whether an address is this replica's own.
	IsSelf func(netip.AddrPort) bool
	// Timeout bounds the read of all replicas. Default: 3 s.
	Timeout time.Duration
	// Registerer receives the self-metrics; nil: none.
	Registerer prometheus.Registerer
}

// Answer is one replica's record of an autoscaler. Without Log and Err the replica knows no such autoscaler.
type Answer struct {
	Replica string // the name of the pod; where the endpoint has none, the address
	Log     *explainapi.DecisionLog
	Err     error
}

// Reader reads the records of the other replicas. It is safe for concurrent use.
type Reader struct {
	opts   Options
	panics *panics.Guard

	mu          sync.Mutex   // guards the fields below
	authorities string       // of client
	client      *http.Client // nil: not made yet
	known       []endpoint   // for forwarded reads
	knownUntil  time.Time
}

// New returns a Reader. It sends no request.
func New(opts Options) *Reader {
	opts.Timeout = cmp.Or(opts.Timeout, defaultTimeout)
	return &Reader{opts: opts, panics: newReadGuard(opts.Registerer)}
}

// endpoint is the address of another replica.
type endpoint struct {
	name    string
	address netip.AddrPort
}

// ReadLogs returns each other replica's record of an autoscaler over a time span before now; 0 means all. A replica that cannot be
// read has an answer with the cause.
func (r *Reader) ReadLogs(ctx context.Context, key types.NamespacedName, span time.Duration) []Answer {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	peers, err := r.listPeerEndpoints(ctx)
	if err != nil {
		return []Answer{{Replica: "the other replicas", Err: err}}
	}
	if len(peers) == 0 {
		return nil
	}
	client, err := r.openPeerClient()
	answers := make([]Answer, len(peers))
	var reads sync.WaitGroup
	room := &logRoom{left: maxLogBytes}
	for i, p := range peers {
		if answers[i] = (Answer{Replica: p.name, Err: err}); err != nil {
			continue
		}
		reads.Go(func() { answers[i].Log, answers[i].Err = r.readPeerLogSafely(ctx, client, p, key, span, room) })
	}
	reads.Wait()
	return answers
}

// ForwardRead lets another replica answer a read, with the adapter's own credentials: the caller has authorized the read. It reports false,
// and has written nothing, if no other replica answers with values within forwardTimeout.
func (r *Reader) ForwardRead(w http.ResponseWriter, read *http.Request) bool {
	ctx, cancel := context.WithTimeout(read.Context(), forwardTimeout)
	defer cancel()
	client, err := r.openPeerClient()
	if err != nil {
		return false
	}
	for _, p := range r.listForwardEndpoints(ctx) {
		if forwardPeerRead(ctx, client, p, w, read.URL) {
			return true
		}
	}
	return false
}

// listForwardEndpoints returns the other replicas. They are listed once in a while: a surge takes two reads a second.
func (r *Reader) listForwardEndpoints(ctx context.Context) []endpoint {
	r.mu.Lock()
	known, until := r.known, r.knownUntil
	r.mu.Unlock()
	if now := time.Now(); now.After(until) {
		known, _ = r.listPeerEndpoints(ctx) // without any the replica answers itself
		r.mu.Lock()
		r.known, r.knownUntil = known, now.Add(forwardMemory)
		r.mu.Unlock()
	}
	return known
}

// forwardPeerRead reports whether a replica answered a read with values. Of the request it gets the path and the parameters alone.
func forwardPeerRead(ctx context.Context, client *http.Client, p endpoint, w http.ResponseWriter, read *url.URL) bool {
	at := url.URL{Scheme: "https", Host: p.address.String(), Path: read.Path, RawPath: read.RawPath, RawQuery: read.RawQuery}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return false
	}
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false
	}
	for _, key := range []string{"Content-Type", domain.ReplicaHeader} {
		w.Header().Set(key, response.Header.Get(key))
	}
	if _, err := io.Copy(w, response.Body); err != nil {
		panic(http.ErrAbortHandler) // a part of the values must not look like all
	}
	return true
}

// listPeerEndpoints returns the other replicas that serve, sorted by name. A replica that terminates serves still. A pod with addresses
// of two families is one replica.
func (r *Reader) listPeerEndpoints(ctx context.Context) ([]endpoint, error) {
	list, err := r.opts.EndpointSlices.List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + r.opts.Service})
	if err != nil {
		return nil, fmt.Errorf("list the endpoints of Service %s: %w", r.opts.Service, err)
	}
	peers := map[string]endpoint{}
	for i := range list.Items {
		slice := &list.Items[i]
		for _, port := range slice.Ports {
			for j := range slice.Endpoints {
				if port.Port != nil {
					r.addPeerEndpoints(peers, &slice.Endpoints[j], uint16(*port.Port))
				}
			}
		}
	}
	if len(peers) > maxPeers {
		return nil, fmt.Errorf("service %s has %d other replicas, and at most %d are read", r.opts.Service, len(peers), maxPeers)
	}
	return slices.SortedFunc(maps.Values(peers), func(a, b endpoint) int { return cmp.Compare(a.name, b.name) }), nil
}

func (r *Reader) addPeerEndpoints(peers map[string]endpoint, e *discoveryv1.Endpoint, port uint16) {
	if serving := e.Conditions.Serving; serving != nil && !*serving {
		return
	}
	for _, text := range e.Addresses {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			continue // a DNS name
		}
		p := endpoint{address: netip.AddrPortFrom(ip, port)}
		if p.name = p.address.String(); e.TargetRef != nil {
			p.name = e.TargetRef.Name
		}
		if !r.opts.IsSelf(p.address) {
			peers[p.name] = p
		}
	}
}

// openPeerClient returns a client that verifies replicas by the authorities of now.
func (r *Reader) openPeerClient() (*http.Client, error) {
	authorities := r.opts.Authorities()
	if len(authorities) == 0 {
		return nil, errors.New("this replica has no certificate yet to verify others by")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil && r.authorities == string(authorities) {
		return r.client, nil
	}
	config := rest.CopyConfig(r.opts.Cluster)
	config.Insecure, config.CAFile, config.CAData, config.ServerName = false, "", authorities, r.opts.ServerName
	config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil } // pods reach pods directly
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for other replicas: %w", err)
	}
	client.Transport = protocolswitch.Reject(client.Transport)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if r.client != nil {
		r.client.CloseIdleConnections()
	}
	r.client, r.authorities = client, string(authorities)
	return client, nil
}

// readPeerLogSafely is readPeerLog. A panic is the error of this replica alone.
func (r *Reader) readPeerLogSafely(ctx context.Context, client *http.Client, p endpoint, key types.NamespacedName, span time.Duration, room *logRoom) (log *explainapi.DecisionLog, err error) {
	defer r.panics.Catch(ctx, &err, func() []any { return []any{"replica", p.name} })
	return readPeerLog(ctx, client, p, key, span, room)
}

// readPeerLog reads a replica's own record. It returns nil without an error if the replica knows no such autoscaler.
func readPeerLog(ctx context.Context, client *http.Client, p endpoint, key types.NamespacedName, span time.Duration, room *logRoom) (*explainapi.DecisionLog, error) {
	query := url.Values{explainapi.ScopeParameter: {explainapi.ScopeReplica}}
	if span > 0 {
		query.Set(explainapi.SinceParameter, span.String())
	}
	at := url.URL{
		Scheme: "https", Host: p.address.String(), RawQuery: query.Encode(),
		Path: "/apis/" + explainapi.GroupVersion.String() + "/namespaces/" + key.Namespace + "/" + explainapi.HPAs + "/" + key.Name + "/" + explainapi.Decisions,
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, unwrapPeerURL(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(&roomyReader{Reader: response.Body, room: room})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the log: %w", err)
	case response.StatusCode == http.StatusNotFound:
		return nil, nil
	case response.StatusCode != http.StatusOK:
		return nil, describePeerFailure(response, data)
	}
	log := &explainapi.DecisionLog{}
	if err := json.Unmarshal(data, log); err != nil {
		return nil, fmt.Errorf("parse the log: %w", err)
	}
	if err := checkPeerLog(log); err != nil {
		return nil, err
	}
	return log, nil
}

// logRoom are the bytes that the logs of all replicas may still have.
type logRoom struct {
	mu   sync.Mutex // guards left
	left int
}

// roomyReader reads a log within the room of all.
type roomyReader struct {
	io.Reader
	room  *logRoom
	taken int
}

// Read implements io.Reader. A log without room fails, and leaves its part of the room to the others.
func (r *roomyReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.room.mu.Lock()
	defer r.room.mu.Unlock()
	if n > r.room.left {
		r.room.left, r.taken = r.room.left+r.taken, 0
		return 0, fmt.Errorf("the logs of the other replicas have more than %d MiB together", maxLogBytes>>20)
	}
	r.room.left, r.taken = r.room.left-n, r.taken+n
	return n, err
}

// checkPeerLog rejects a log with decisions that name missing specs, and completes a good log.
func checkPeerLog(log *explainapi.DecisionLog) error {
	for i := range log.Decisions {
		if spec := log.Decisions[i].Spec; spec < 0 || spec >= len(log.Specs) {
			return fmt.Errorf("the log is damaged: it lacks spec %d of its decisions", spec)
		}
	}
	log.Complete()
	return nil
}

func describePeerFailure(response *http.Response, data []byte) error {
	status := metav1.Status{}
	_ = json.Unmarshal(data, &status) // the status line is left without it
	if message := cmp.Or(status.Message, response.Status); len(message) <= 512 {
		return errors.New(message)
	}
	return errors.New(response.Status)
}

// unwrapPeerURL returns the cause of a failed request without its long URL.
func unwrapPeerURL(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
