// Package certificate keeps the adapter's serving certificate: made, shared by the replicas through a Secret, renewed,
// and trusted by kube-apiserver through the caBundle of each APIService.
package certificate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/klog/v2"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"
)

// Options say where the certificate is kept and who must trust it. The zero value of a duration takes its default.
type Options struct {
	// Secret is the name of the Secret that the replicas share.
	Secret string
	// Namespace and Service are the Service in front of the replicas: kube-apiserver asks for its name. Only
	// APIServices that point at it are written to.
	Namespace, Service string
	// APIServices are the names of those whose caBundle is kept.
	APIServices []string
	// Lifetime of a certificate: 90 days by default, what public authorities have shown to be short enough that
	// renewal is routine and long enough to survive a month in which nothing can be written.
	Lifetime time.Duration
	// Interval between two looks at the Secret and the APIServices: 10 s by default. Looking needs no more than the
	// right to get these few objects by name, and a caBundle that somebody overwrote is mended within it.
	Interval time.Duration
	// Registerer takes the self-metrics; nil for none.
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() Options {
	if o.Lifetime == 0 {
		o.Lifetime = 90 * 24 * time.Hour
	}
	if o.Interval == 0 {
		o.Interval = 10 * time.Second
	}
	return o
}

// dnsNames are the names that the certificate is valid for; the first is the one that kube-apiserver verifies.
func (o Options) dnsNames() []string {
	host := o.Service + "." + o.Namespace
	return []string{host + ".svc", host + ".svc.cluster.local", host, o.Service}
}

// Keeper makes, shares, renews and publishes a serving certificate while Run runs. It offers the certificate to a
// generic API server as a dynamiccertificates.CertKeyContentProvider. Its methods are safe for concurrent use.
//
// A renewal never breaks a connection, whichever replica does it and whichever is asked:
//  1. one replica stores a new pair, together with the authorities of the old one; of two that try, the API
//     server refuses the second, which then reads what the first stored;
//  2. whoever sees the new pair writes old and new authorities into the APIServices;
//  3. each replica serves the new pair after it has seen the authorities in place for two intervals, by when every
//     replica has looked and kube-apiserver has read them;
//  4. the old authority leaves the bundle with the next renewal after it has expired.
type Keeper struct {
	secrets     corev1.SecretInterface
	apiServices apiregistration.APIServiceInterface
	opts        Options
	metrics     *metrics

	mu        sync.RWMutex // guards what follows
	serving   *certificatePair
	trusted   bool             // the APIServices held serving's authority when they were last seen
	newest    *certificatePair // what the Secret held when it was last read
	since     time.Time        // since when newest's bundle has been seen in every APIService; zero: it is not
	listeners []dynamiccertificates.Listener
}

var _ dynamiccertificates.CertKeyContentProvider = (*Keeper)(nil)

// New returns a Keeper that has no certificate until it runs. secrets must be of opts.Namespace.
func New(secrets corev1.SecretInterface, apiServices apiregistration.APIServiceInterface, opts Options) *Keeper {
	return &Keeper{
		secrets: secrets, apiServices: apiServices, opts: opts.withDefaults(),
		metrics: newMetrics(opts.Registerer),
	}
}

// Run looks after the certificate until ctx ends. It returns nil: what goes wrong is logged, counted and retried.
func (k *Keeper) Run(ctx context.Context) error {
	log := klog.FromContext(ctx)
	for {
		err := k.reconcileCertificate(ctx, time.Now())
		k.metrics.countCheck(err)
		if err != nil && ctx.Err() == nil {
			log.Error(err, "Certificate check failed", "secret", k.opts.Secret)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(k.checkDelay()):
		}
	}
}

// checkDelay is short until there is something to serve: nobody is ready before.
func (k *Keeper) checkDelay() time.Duration {
	if k.currentPair() == nil {
		return min(time.Second, k.opts.Interval)
	}
	return k.opts.Interval
}

// reconcileCertificate brings Secret, APIServices and the pair served one step nearer to each other.
func (k *Keeper) reconcileCertificate(ctx context.Context, now time.Time) error {
	// A look that takes longer than the interval could publish what it read too long ago over something newer.
	ctx, cancel := context.WithTimeout(ctx, k.opts.Interval)
	defer cancel()
	newest, err := k.obtainPair(ctx, now)
	if err != nil {
		return err
	}
	err = k.publishBundle(ctx, newest.bundle)
	k.adoptPair(ctx, newest, err == nil, now)
	return err
}

// adoptPair serves newest as soon as that is safe, and at once when there is nothing better.
func (k *Keeper) adoptPair(ctx context.Context, newest *certificatePair, published bool, now time.Time) {
	k.mu.Lock()
	if !k.newest.equalPair(newest) {
		k.newest, k.since = newest, time.Time{}
	}
	switch {
	case !published:
		k.since = time.Time{}
	case k.since.IsZero():
		k.since = now
	}
	settled := !k.since.IsZero() && now.Sub(k.since) >= 2*k.opts.Interval
	covered := k.serving != nil && k.serving.isSignedBy(parseAuthorities(newest.bundle))
	changed := !k.serving.equalPair(newest) && (settled || !k.serving.isUsable(now) || published && !covered)
	if changed {
		k.serving, k.trusted = newest, false
	}
	k.trusted = k.trusted || published
	listeners := k.listeners
	k.mu.Unlock()
	if !changed {
		return
	}
	klog.FromContext(ctx).Info("Serving certificate taken into use", "names", newest.leaf.DNSNames, "expires", newest.leaf.NotAfter.Format(time.RFC3339))
	for _, l := range listeners {
		l.Enqueue()
	}
}

// Trusted returns nil if a client that trusts the APIServices' caBundles believes the certificate served. What was
// last seen counts: while the API server cannot be asked, the answer stays.
func (k *Keeper) Trusted() error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	switch {
	case k.serving == nil:
		return errors.New("no certificate yet")
	case !k.trusted:
		return errors.New("caBundle not yet written to the APIServices")
	}
	return nil
}

func (k *Keeper) currentPair() *certificatePair {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.serving
}

// knownAuthorities are the authorities that this replica would be believed by, whatever the Secret says.
func (k *Keeper) knownAuthorities() []*x509.Certificate {
	if p := k.currentPair(); p != nil {
		return parseAuthorities(p.bundle)
	}
	return nil
}

// Name identifies the certificate in the API server's log.
func (k *Keeper) Name() string { return fmt.Sprintf("secret %s/%s", k.opts.Namespace, k.opts.Secret) }

// CurrentCertKeyContent returns the certificate served and its key in PEM, or nothing before there is one. The
// caller must not change them.
func (k *Keeper) CurrentCertKeyContent() (certPEM, keyPEM []byte) {
	if p := k.currentPair(); p != nil {
		return p.cert, p.key
	}
	return nil, nil
}

// AddListener has l told whenever the certificate served changes.
func (k *Keeper) AddListener(l dynamiccertificates.Listener) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listeners = append(k.listeners, l)
}
