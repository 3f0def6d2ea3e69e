package certificate

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// publishCABundle makes bundle the caBundle of every APIService that points at this adapter. It skips a missing APIService and
// an APIService of another adapter (KEDA serves external metrics in many clusters).
//
// If the bundle is not shared, the replicas do not know each other's authorities: a Keeper's entries stay there.
func (k *Keeper) publishCABundle(ctx context.Context, bundle []byte, shared bool) error {
	var errs []error
	for _, name := range k.opts.APIServices {
		if err := k.publishToAPIService(ctx, name, bundle, shared); err != nil {
			errs = append(errs, fmt.Errorf("write caBundle of APIService %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (k *Keeper) publishToAPIService(ctx context.Context, name string, bundle []byte, shared bool) error {
	service, err := k.apiServices.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !k.isKeeperService(service) {
		return nil
	}
	if !shared {
		bundle = addBundleAuthorities(service.Spec.CABundle, bundle)
	}
	if bytes.Equal(service.Spec.CABundle, bundle) {
		return nil
	}
	// Only this field: the owner of the manifest keeps the rest.
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"caBundle": bundle}})
	if err != nil {
		return err
	}
	if _, err := k.apiServices.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	k.metrics.writes.Inc()
	klog.FromContext(ctx).Info("CA bundle written", "apiService", name)
	return nil
}

func (k *Keeper) isKeeperService(s *apiregistration.APIService) bool {
	ref := s.Spec.Service
	return ref != nil && ref.Name == k.opts.Service && ref.Namespace == k.opts.Namespace
}

// maxPublished bounds the authorities in a caBundle that no replica owns: two or three replicas with a full bundle each.
const maxPublished = 3 * maxAuthorities

// addBundleAuthorities returns published if it has all authorities of bundle, or else both together.
func addBundleAuthorities(published, bundle []byte) []byte {
	present, wanted := parseKeeperAuthorities(published), parseAuthorityBundle(bundle)
	missing := slices.ContainsFunc(wanted, func(c *x509.Certificate) bool { return !slices.ContainsFunc(present, c.Equal) })
	if !missing {
		return published
	}
	return encodeCertificates(mergeAuthorities(maxPublished, wanted, present)...)
}

// parseKeeperAuthorities returns the certificates in a bundle that a Keeper made.
func parseKeeperAuthorities(bundle []byte) []*x509.Certificate {
	return slices.DeleteFunc(parseAuthorityBundle(bundle), func(c *x509.Certificate) bool {
		return !strings.HasPrefix(c.Subject.CommonName, authorityPrefix)
	})
}

// listPublishedAuthorities returns the authorities that Keepers wrote into the APIServices. An unreadable APIService has none: the
// authorities of the Secret and of this replica remain.
func (k *Keeper) listPublishedAuthorities(ctx context.Context) []*x509.Certificate {
	var all []*x509.Certificate
	for _, name := range k.opts.APIServices {
		service, err := k.apiServices.Get(ctx, name, metav1.GetOptions{})
		if err == nil && k.isKeeperService(service) {
			all = append(all, parseKeeperAuthorities(service.Spec.CABundle)...)
		}
	}
	return all
}
