package certificate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// obtainCertificatePair returns the pair that all replicas share: the one in the Secret, after a renewal if due. A Secret that was deleted or
// emptied gets a new pair, which is how an administrator replaces a key.
func (k *Keeper) obtainCertificatePair(ctx context.Context, now time.Time) (*certificatePair, error) {
	secret, stored, reason, err := k.loadCertificatePair(ctx, now)
	if err != nil || reason == "" {
		return stored, err
	}
	next, err := k.renewCertificatePair(ctx, secret, stored, now)
	if err != nil {
		return nil, err
	}
	err = k.saveCertificatePair(ctx, secret, next)
	switch {
	case err == nil:
		k.metrics.renewals.Inc()
		klog.FromContext(ctx).Info("Certificate stored", "secret", k.opts.Secret, "reason", reason, "expires", next.computePairExpiry().Format(time.RFC3339))
		return next, nil
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		// Another replica was first: use its pair.
		_, stored, reason, err = k.loadCertificatePair(ctx, now)
		if err == nil && reason != "" {
			err = fmt.Errorf("renew certificate: another replica stored one that is due (%s)", reason)
		}
		return stored, err
	default:
		return nil, err
	}
}

// selectKnownPair returns the latest pair that this replica has seen, or nil if that is due.
func (k *Keeper) selectKnownPair(now time.Time) *certificatePair {
	for _, p := range k.listKnownPairs() {
		if p.findRenewalReason(k.opts.listServiceDNSNames(), now) == "" {
			return p
		}
	}
	return nil
}

// renewCertificatePair returns a new pair, with the authorities of all that replicas may serve. secret and stored are their common state, nil if
// it is unknown.
func (k *Keeper) renewCertificatePair(ctx context.Context, secret *core.Secret, stored *certificatePair, now time.Time) (*certificatePair, error) {
	judged := now
	if stored != nil && stored.computePairExpiry().Before(now) {
		judged = stored.computePairExpiry() // a clock that is far ahead must not drop the authority of the pair that others serve
	}
	trusted := dropExpiredCertificates(k.collectServedAuthorities(ctx, secret), judged)
	fresh, err := issueCertificatePair(k.opts.listServiceDNSNames(), certificateLifetime, trusted, now)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return fresh, nil
}

// loadCertificatePair reads the Secret. A reason says why its pair must be replaced; secret is nil if it does not exist.
func (k *Keeper) loadCertificatePair(ctx context.Context, now time.Time) (secret *core.Secret, stored *certificatePair, reason string, err error) {
	secret, err = k.secrets.Get(ctx, k.opts.Secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, "no secret", nil
	}
	if err != nil {
		return nil, nil, "", fmt.Errorf("read secret: %w", err)
	}
	stored, err = parseCertificatePair(secret.Data)
	switch {
	case errors.Is(err, errNoPair):
		return secret, nil, "empty", nil
	case err != nil:
		klog.FromContext(ctx).Error(err, "Stored certificate cannot be used", "secret", k.opts.Secret)
		return secret, nil, "unusable", nil
	}
	return secret, stored, stored.findRenewalReason(k.opts.listServiceDNSNames(), now), nil
}

// collectServedAuthorities returns the authorities of all pairs that a replica may serve: this replica's own, the Secret's, and those of
// replicas that found no Secret, which are in the APIServices alone.
func (k *Keeper) collectServedAuthorities(ctx context.Context, secret *core.Secret) []*x509.Certificate {
	lists := [][]*x509.Certificate{k.listKnownAuthorities()}
	if secret != nil {
		lists = append(lists, parseAuthorityBundle(secret.Data[bundleKey]))
	}
	lists = append(lists, k.listPublishedAuthorities(ctx))
	return mergeAuthorities(math.MaxInt, lists...)
}

// saveCertificatePair replaces the pair in secret with p, or creates the Secret. It fails with a conflict if another client wrote
// since the read.
func (k *Keeper) saveCertificatePair(ctx context.Context, secret *core.Secret, p *certificatePair) error {
	data := map[string][]byte{certKey: p.cert, keyKey: p.key, bundleKey: p.bundle}
	if secret == nil {
		secret = &core.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: k.opts.Secret, Namespace: k.opts.Namespace},
			Type:       core.SecretTypeTLS,
			Data:       data,
		}
		if _, err := k.secrets.Create(ctx, secret, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create secret: %w", err)
		}
		return nil
	}
	secret = secret.DeepCopy()
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	maps.Copy(secret.Data, data)
	if _, err := k.secrets.Update(ctx, secret, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update secret: %w", err)
	}
	return nil
}
