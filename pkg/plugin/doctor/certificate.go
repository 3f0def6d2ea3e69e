// The certificate that the adapter serves, against the caBundle that kube-apiserver verifies it with.

package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// soonExpiry is the time before the expiry of a certificate that is worth a warning. The adapter renews its own long before.
const soonExpiry = 72 * time.Hour

// checkAdapterCertificate compares the certificate of each adapter pod with the caBundle of each of its APIServices.
func (d *doctor) checkAdapterCertificate(ctx context.Context) {
	if d.Certificates == nil || d.adapter.podPort == 0 {
		return
	}
	for i := range d.adapter.pods {
		pod := &d.adapter.pods[i]
		if !isTargetPodRunning(pod) {
			continue // it serves nothing
		}
		subject := d.adapter.namespace + "/" + pod.Name
		chain, err := d.Certificates.ReadCertificates(ctx, d.adapter.namespace, pod.Name, d.adapter.podPort)
		if err == nil && len(chain) == 0 {
			err = errors.New("the pod serves no certificate")
		}
		if err != nil {
			d.addDoctorCheck("certificate", subject, StatusUnread, err.Error(), "")
			continue
		}
		status, message, fix := d.judgeAdapterCertificate(ctx, chain)
		d.addDoctorCheck("certificate", subject, status, message, fix)
	}
}

func isTargetPodRunning(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodRunning && !slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Waiting != nil
	})
}

// judgeAdapterCertificate verifies a chain as kube-apiserver does, for each APIService of the adapter.
func (d *doctor) judgeAdapterCertificate(ctx context.Context, chain []*x509.Certificate) (status Status, message, fix string) {
	leaf := chain[0]
	restart := d.formatRestartCommand()
	if !d.Now().Before(leaf.NotAfter) {
		return StatusFail, "expired at " + leaf.NotAfter.UTC().Format(time.RFC3339), restart
	}
	if d.Now().Before(leaf.NotBefore) {
		return StatusFail, fmt.Sprintf("it is not yet valid, before %s: it was made by a clock that is ahead, or this machine's clock is behind (%s)",
			leaf.NotBefore.UTC().Format(time.RFC3339), d.Now().UTC().Format(time.RFC3339)), restart
	}
	for _, s := range d.services {
		if !d.isAdapterAPIService(s) {
			continue
		}
		if s.Spec.InsecureSkipTLSVerify {
			return StatusWarning, s.Name + " has insecureSkipTLSVerify: kube-apiserver trusts any server",
				"kubectl patch apiservice " + s.Name + ` --type=merge -p '{"spec":{"insecureSkipTLSVerify":null}}'`
		}
		err := d.verifyServiceCertificate(chain, s)
		if err != nil && d.lacksBundleRight(ctx, s.Name) {
			return StatusFail, fmt.Sprintf("the caBundle of %s does not verify it: %v, and the adapter may not write it (patch apiservices)", s.Name, err), applyAdapterCommand
		}
		if err != nil {
			return StatusFail, fmt.Sprintf("the caBundle of %s does not verify it: %v", s.Name, err), restart
		}
	}
	until := leaf.NotAfter.UTC().Format(time.RFC3339)
	if leaf.NotAfter.Sub(d.Now()) < soonExpiry {
		return StatusWarning, "verified, but it expires at " + until, restart
	}
	return StatusOK, "verified by the caBundle, valid until " + until, ""
}

// lacksBundleRight reports whether the adapter makes its certificate itself, and may not write the caBundle of an APIService. It reports false without
// the right to ask.
func (d *doctor) lacksBundleRight(ctx context.Context, apiService string) bool {
	spec := &d.adapter.pods[0].Spec
	for i := range spec.Containers {
		if slices.ContainsFunc(spec.Containers[i].Args, func(arg string) bool { return strings.HasPrefix(arg, "--tls-cert-file") }) {
			return false
		}
	}
	user := "system:serviceaccount:" + d.adapter.namespace + ":" + spec.ServiceAccountName
	answer, err := d.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: listServiceAccountGroups(user),
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "patch", Group: apiregistration.GroupName, Resource: "apiservices", Name: apiService},
	}}, metav1.CreateOptions{})
	return err == nil && !answer.Status.Allowed
}

// formatRestartCommand returns the command that restarts the adapter.
func (d *doctor) formatRestartCommand() string {
	return fmt.Sprintf("kubectl -n %s rollout restart deployment/%s", d.adapter.namespace, d.adapter.service)
}

func (d *doctor) verifyServiceCertificate(chain []*x509.Certificate, s *apiregistration.APIService) error {
	if len(s.Spec.CABundle) == 0 {
		return errors.New("it is empty")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.Spec.CABundle) {
		return errors.New("it holds no certificate")
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName: d.adapter.service + "." + d.adapter.namespace + ".svc",
		Roots:   roots, Intermediates: between, CurrentTime: d.Now(),
	})
	return err
}

// isAdapterAPIService reports whether an APIService points at the adapter.
func (d *doctor) isAdapterAPIService(s *apiregistration.APIService) bool {
	at := s.Spec.Service
	return at != nil && at.Namespace == d.adapter.namespace && at.Name == d.adapter.service
}
