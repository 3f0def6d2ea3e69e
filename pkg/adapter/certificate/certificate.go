// Package certificate issues and renews the adapter's serving certificate, shares it between replicas through a Secret, and publishes
// its authority in the caBundle of each APIService.
package certificate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/klog/v2"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

const (
	// certificateLifetime is as public authorities have shown. It is short enough to make renewal routine, and long enough to survive a
	// month without a possible write.
	certificateLifetime = 90 * 24 * time.Hour
	// checkInterval is the time between two checks of the Secret and the APIServices. A check needs only the right to get these few
	// objects by name, and restores an overwritten caBundle within the interval.
	checkInterval = 10 * time.Second
)

// Options name the Secret, the Service and the APIServices of a certificate.
type Options struct {
	// Secret is the name of the Secret that the replicas share.
	Secret string
	// Namespace and Service are the Service in front of the replicas: kube-apiserver verifies its name. The Keeper
	// writes only to APIServices that point at it.
	Namespace, Service string
	// APIServices are the names of the APIServices with a caBundle to maintain.
	APIServices []string
	// Registerer takes the self-metrics; nil for none.
	Registerer prometheus.Registerer
}

// listServiceDNSNames returns the names in the certificate; kube-apiserver verifies the first.
func (o Options) listServiceDNSNames() []string {
	host := o.Service + "." + o.Namespace
	return []string{host + ".svc", host + ".svc.cluster.local", host, o.Service}
}

// Keeper makes, shares, renews and publishes a serving certificate while Run runs. It offers the certificate to a
// generic API server as a dynamiccertificates.CertKeyContentProvider. Its methods are safe for concurrent use.
//
// A renewal never breaks a connection to any replica:
//  1. one replica stores a new pair together with the authorities of the old pair; if two replicas try, the API
//     server rejects the second, which then reads the pair of the first;
//  2. each replica that sees the new pair writes old and new authorities into the APIServices;
//  3. each replica serves the new pair after it has seen the authorities in place for two intervals: by then every
//     replica has checked and kube-apiserver has read them;
//  4. the old authority leaves the bundle with the next renewal after it has expired.
//
// Without the Secret, a replica goes on with the latest pair that it knows, or makes one of its own, and adds its authority to the
// APIServices: a deleted Secret, or a missing right to it, stops no replica.
type Keeper struct {
	secrets     corev1.SecretInterface
	apiServices apiregistration.APIServiceInterface
	opts        Options
	metrics     *metrics

	mu        sync.RWMutex // guards the rest
	serving   *certificatePair
	trusted   bool             // the APIServices had serving's authority at the last check
	newest    *certificatePair // the pair in the Secret at the last check
	since     time.Time        // since when every APIService has newest's bundle; zero: not yet
	failure   error            // of the last check; nil if it succeeded
	listeners []dynamiccertificates.Listener
}

var _ dynamiccertificates.CertKeyContentProvider = (*Keeper)(nil)

// New returns a Keeper that has no certificate until it runs. secrets must be of opts.Namespace.
func New(secrets corev1.SecretInterface, apiServices apiregistration.APIServiceInterface, opts Options) *Keeper {
	return &Keeper{
		secrets: secrets, apiServices: apiServices, opts: opts,
		metrics: newMetrics(opts.Registerer),
	}
}

// Run maintains the certificate until ctx ends, then returns nil. It logs, counts and retries failures.
func (k *Keeper) Run(ctx context.Context) error {
	log := klog.FromContext(ctx)
	for {
		err := k.reconcileCertificate(ctx, time.Now())
		k.metrics.countCertificateCheck(err)
		k.recordReconcileFailure(err)
		if err != nil && ctx.Err() == nil {
			log.Error(err, "Certificate check failed", "secret", k.opts.Secret)
		}
		if !retry.Sleep(ctx, k.chooseCheckDelay()) {
			return nil
		}
	}
}

func (k *Keeper) recordReconcileFailure(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failure = err
}

// DescribeFailure returns a line about the last check if it failed, for /readyz?verbose. A failed check is no reason to be not ready:
// the replica serves on with a certificate that clients trust, and an administrator has weeks to repair the Secret.
func (k *Keeper) DescribeFailure() []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.failure == nil {
		return nil
	}
	return []string{fmt.Sprintf("certificate: not shared with the other replicas: %v", k.failure)}
}

// chooseCheckDelay returns the time to the next check. It is short until the first pair, because no replica is ready before.
func (k *Keeper) chooseCheckDelay() time.Duration {
	if k.currentCertificatePair() == nil {
		return time.Second
	}
	return checkInterval
}

// reconcileCertificate takes one step to make Secret, APIServices and serving pair agree.
func (k *Keeper) reconcileCertificate(ctx context.Context, now time.Time) error {
	// Without this bound a slow check could publish an old bundle over a newer bundle.
	ctx, cancel := context.WithTimeout(ctx, checkInterval)
	defer cancel()
	pair, shareErr := k.obtainCertificatePair(ctx, now)
	if shareErr != nil {
		var err error
		if pair, err = k.chooseSubstitutePair(ctx, shareErr, now); pair == nil {
			return errors.Join(shareErr, err)
		}
	}
	err := k.publishCABundle(ctx, pair.bundle, shareErr == nil)
	k.adoptCertificatePair(ctx, pair, err == nil, now)
	return errors.Join(shareErr, err)
}

// chooseSubstitutePair returns the pair to serve while the replicas share none, for the reason err: the latest that this replica knows, or
// else one of its own. It returns nil if it is better to wait: an API server that cannot be reached cannot learn of a first
// pair either.
func (k *Keeper) chooseSubstitutePair(ctx context.Context, err error, now time.Time) (*certificatePair, error) {
	if k.currentCertificatePair() == nil && !isSecretRejection(err) {
		return nil, nil
	}
	if p := k.selectKnownPair(now); p != nil {
		return p, nil
	}
	return k.renewCertificatePair(ctx, nil, nil, now)
}

// isSecretRejection reports whether the API server answered, and rejects the Secret: a right is missing, its namespace is gone, it is immutable, or a
// webhook that judges it does not answer.
func isSecretRejection(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsInternalError(err)
}

// listKnownPairs returns the pairs that this replica has seen, the latest first.
func (k *Keeper) listKnownPairs() []*certificatePair {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.DeleteFunc([]*certificatePair{k.newest, k.serving}, func(p *certificatePair) bool { return p == nil })
}

// adoptCertificatePair serves newest as soon as clients trust it, or at once if no better pair exists.
func (k *Keeper) adoptCertificatePair(ctx context.Context, newest *certificatePair, published bool, now time.Time) {
	k.mu.Lock()
	if !k.newest.equalsCertificatePair(newest) {
		k.newest, k.since = newest, time.Time{}
	}
	switch {
	case !published:
		k.since = time.Time{}
	case k.since.IsZero():
		k.since = now
	}
	settled := !k.since.IsZero() && now.Sub(k.since) >= 2*checkInterval
	covered := k.serving != nil && k.serving.isPairSignedBy(parseAuthorityBundle(newest.bundle))
	changed := !k.serving.equalsCertificatePair(newest) && (settled || !k.serving.isUsablePair(now) || published && !covered)
	if changed {
		k.serving, k.trusted = newest, false
	}
	k.trusted = k.trusted || published
	listeners := k.listeners
	k.mu.Unlock()
	if !changed {
		return
	}
	klog.FromContext(ctx).Info("Serving certificate changed", "names", newest.leaf.DNSNames, "expires", newest.leaf.NotAfter.Format(time.RFC3339))
	for _, l := range listeners {
		l.Enqueue()
	}
}

// Trusted returns nil if a client with the APIServices' caBundles trusts the serving certificate. The last check counts:
// while the API server is unreachable, the result stays.
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

func (k *Keeper) currentCertificatePair() *certificatePair {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.serving
}

// listKnownAuthorities returns the authorities of the pairs that this replica has seen, independent of the Secret.
func (k *Keeper) listKnownAuthorities() []*x509.Certificate {
	var all []*x509.Certificate
	if p := k.currentCertificatePair(); p != nil {
		all = append(all, p.authority) // first: a bundle is bounded
	}
	for _, p := range k.listKnownPairs() {
		all = append(all, parseAuthorityBundle(p.bundle)...)
	}
	return all
}

// Name identifies the certificate in the API server's log.
func (k *Keeper) Name() string { return fmt.Sprintf("secret %s/%s", k.opts.Namespace, k.opts.Secret) }

// CurrentCertKeyContent returns the serving certificate and its key in PEM, or nil before the first pair. The
// caller must not change them.
func (k *Keeper) CurrentCertKeyContent() (certPEM, keyPEM []byte) {
	if p := k.currentCertificatePair(); p != nil {
		return p.cert, p.key
	}
	return nil, nil
}

// AuthorityContent returns the authorities in PEM that verify every certificate that a replica may serve; nil before the first pair.
func (k *Keeper) AuthorityContent() []byte {
	return encodeCertificates(k.listKnownAuthorities()...)
}

// AddListener adds l, to be notified of each change of the serving certificate.
func (k *Keeper) AddListener(l dynamiccertificates.Listener) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listeners = append(k.listeners, l)
}
