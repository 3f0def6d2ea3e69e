package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
	"github.com/tachometer-metrics/tachometer/test/harness/decisions"
)

// denyScale lets kube-apiserver deny every write of a scale in a namespace, until end or the test's end.
func denyScale(t *testing.T, namespace string) (end func()) {
	t.Helper()
	api := client.AdmissionregistrationV1()
	meta := metav1.ObjectMeta{Name: "deny-scale-" + namespace}
	_, err := api.ValidatingAdmissionPolicies().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments/scale"}},
			}}}},
			Validations: []admissionv1.Validation{{Expression: "false", Message: "no scaling today"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: meta.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": namespace}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	end = func() {
		ctx := context.Background()
		_ = api.ValidatingAdmissionPolicyBindings().Delete(ctx, meta.Name, metav1.DeleteOptions{}) // gone at the second call
		_ = api.ValidatingAdmissionPolicies().Delete(ctx, meta.Name, metav1.DeleteOptions{})
	}
	t.Cleanup(end)
	eventually(t, 30*time.Second, func(ctx context.Context) error { // kube-apiserver watches its policies
		scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: 2}}
		_, err := client.AppsV1().Deployments(namespace).UpdateScale(ctx, "web", scale, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || !strings.Contains(err.Error(), "no scaling today") {
			return fmt.Errorf("a denied write of the scale: %w", errors.Join(errors.New("not denied"), err))
		}
		return nil
	})
	return end
}

// TestDeniedScale: looks of the real controller whose scale is denied agree with the record, and so do those after it; the log says who denied it.
func TestDeniedScale(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	const deniedLooks = 3
	namespace := newNamespace(t)
	k := newKubelet(t, namespace)
	k.load.Store(3000)
	newScaled(t, namespace)
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		log, err := parseDecisions(admin.raw(ctx, decisionsPath(namespace, "")))
		if err == nil && len(log.Decisions) < deniedLooks {
			err = fmt.Errorf("%d decisions", len(log.Decisions))
		}
		return err
	})
	end := denyScale(t, namespace)
	k.load.Store(9000)
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		log, err := parseDecisions(admin.raw(ctx, decisionsPath(namespace, "")))
		if err != nil {
			return err
		}
		failed := 0
		for _, l := range replay.Reproduce(log, replay.Settings()) {
			if l.ScaleFailed {
				failed++
			}
		}
		if failed < deniedLooks {
			return fmt.Errorf("%d of %d looks have a scale that could not be written", failed, len(log.Decisions))
		}
		return nil
	})
	end()
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		log, err := parseDecisions(admin.raw(ctx, decisionsPath(namespace, "")))
		if err != nil {
			return err
		}
		if n := k.running(); n < 4 {
			return fmt.Errorf("%d pods run", n)
		}
		v := decisions.Judge(log, time.Time{})
		t.Log(v)
		for _, d := range v.Differences {
			t.Error(d)
		}
		if !strings.Contains(fmt.Sprint(explain.NewLog(log).Decisions), "could not be written: ") {
			t.Errorf("the log does not tell it: %+v", explain.NewLog(log).Decisions)
		}
		return nil
	})
}
