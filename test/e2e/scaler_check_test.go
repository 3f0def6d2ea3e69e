package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/test/harness/sale"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// TestCheckInPod: check in the controller's pod, without a kubeconfig, finds nothing missing; without the binding of the namespace it prints the command that
// makes it, for the pod's own ServiceAccount, and that command mends it.
func TestCheckInPod(t *testing.T) {
	needNode(t)
	light(t)
	beginSale(t, sale.Up)
	check := func(ctx context.Context) (string, error) {
		return s.Kubectl(ctx, "-n", stack.AdapterNamespace, "exec", "deploy/tachometer-scaler", "--", "/tachometer-scaler", "check", "--config", "/etc/tachometer/config.yaml")
	}
	if out, err := check(t.Context()); err != nil || strings.Contains(out, "MISSING") {
		t.Errorf("%v: %s", err, out)
	}
	bindings := s.Client.RbacV1().RoleBindings(stack.SampleNamespace)
	whole, err := bindings.Get(t.Context(), "tachometer-scaler", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := bindings.Delete(t.Context(), whole.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // kubectl apply of the next test changes the labels of what is there
		_, _ = s.Kubectl(context.WithoutCancel(t.Context()), "apply", "-f", s.Root+"/manifests/scaler/workloads/rolebindings.yaml")
	})
	const fix = "kubectl -n " + stack.SampleNamespace + " create rolebinding tachometer-scaler --clusterrole=tachometer-scaler-workloads --serviceaccount=" + stack.AdapterNamespace + ":tachometer-scaler"
	err = stack.Wait(t.Context(), 30*time.Second, func(ctx context.Context) error {
		if out, err := check(ctx); err == nil || !strings.Contains(out+err.Error(), fix) {
			return fmt.Errorf("without the binding: %w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kubectl(t.Context(), strings.Fields(strings.TrimPrefix(fix, "kubectl "))...); err != nil {
		t.Fatal(err)
	}
	err = stack.Wait(t.Context(), 30*time.Second, func(ctx context.Context) error { _, err := check(ctx); return err })
	if err != nil {
		t.Errorf("after the command: %v", err)
	}
}
