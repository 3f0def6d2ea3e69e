package certificate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// obtainPair returns the pair in the Secret, after a renewal if due.
func (k *Keeper) obtainPair(ctx context.Context, now time.Time) (*certificatePair, error) {
	secret, stored, reason, err := k.loadPair(ctx, now)
	if err != nil || reason == "" {
		return stored, err
	}
	fresh, err := issuePair(k.opts.dnsNames(), k.opts.Lifetime, k.believedAuthorities(secret), now)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	err = k.storePair(ctx, secret, fresh)
	switch {
	case err == nil:
		k.metrics.renewals.Inc()
		klog.FromContext(ctx).Info("Certificate renewed", "secret", k.opts.Secret, "reason", reason, "expires", fresh.leaf.NotAfter.Format(time.RFC3339))
		return fresh, nil
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		// Another replica was first: use its pair.
		_, stored, reason, err = k.loadPair(ctx, now)
		if err == nil && reason != "" {
			err = fmt.Errorf("renew certificate: another replica stored one that is due (%s)", reason)
		}
		return stored, err
	default:
		return nil, err
	}
}

// loadPair reads the Secret. A reason says why its pair must be replaced; secret is nil if it does not exist.
func (k *Keeper) loadPair(ctx context.Context, now time.Time) (secret *core.Secret, stored *certificatePair, reason string, err error) {
	secret, err = k.secrets.Get(ctx, k.opts.Secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, "no secret", nil
	}
	if err != nil {
		return nil, nil, "", fmt.Errorf("read secret: %w", err)
	}
	stored, err = parsePair(secret.Data)
	switch {
	case errors.Is(err, errNoPair):
		return secret, nil, "empty", nil
	case err != nil:
		klog.FromContext(ctx).Error(err, "Stored certificate cannot be used", "secret", k.opts.Secret)
		return secret, nil, "unusable", nil
	}
	return secret, stored, stored.renewalReason(k.opts.dnsNames(), now), nil
}

// believedAuthorities returns the authorities of all pairs that a replica may serve: the Secret's and this replica's own.
func (k *Keeper) believedAuthorities(secret *core.Secret) []*x509.Certificate {
	var all []*x509.Certificate
	if secret != nil {
		all = parseAuthorities(secret.Data[bundleKey])
	}
	for _, own := range k.knownAuthorities() {
		if !slices.ContainsFunc(all, own.Equal) {
			all = append(all, own)
		}
	}
	return all
}

// storePair replaces the pair in secret with p, or creates the Secret. It fails with a conflict if another client wrote
// since the read.
func (k *Keeper) storePair(ctx context.Context, secret *core.Secret, p *certificatePair) error {
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
