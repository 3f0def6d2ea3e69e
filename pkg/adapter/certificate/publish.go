package certificate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// publishBundle makes bundle the caBundle of every APIService that points at this adapter. It skips a missing APIService and
// an APIService of another adapter (KEDA serves external metrics in many clusters).
func (k *Keeper) publishBundle(ctx context.Context, bundle []byte) error {
	var errs []error
	for _, name := range k.opts.APIServices {
		if err := k.publishBundleTo(ctx, name, bundle); err != nil {
			errs = append(errs, fmt.Errorf("write caBundle of APIService %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (k *Keeper) publishBundleTo(ctx context.Context, name string, bundle []byte) error {
	service, err := k.apiServices.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !k.isOurService(service) || bytes.Equal(service.Spec.CABundle, bundle) {
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

func (k *Keeper) isOurService(s *apiregistration.APIService) bool {
	ref := s.Spec.Service
	return ref != nil && ref.Name == k.opts.Service && ref.Namespace == k.opts.Namespace
}
