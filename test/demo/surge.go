package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// surgeLoad is the default load with the surge lane, which raises nothing before it has read a minute of good answers.
const surgeLoad = "60:100s,500:75s,60:85s"

// installSurgeLane installs the scaler and puts the sample's HPA into its surge lane.
func (d *demo) installSurgeLane(ctx context.Context, s *stack.Stack) error {
	const manifests = "test/e2e/manifests/surge"
	fmt.Fprintln(d.out, "kubectl apply -k "+manifests)
	if err := s.Apply(ctx, manifests); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-n", stack.AdapterNamespace, "rollout", "status", "deploy/tachometer-scaler", "--timeout=120s"},
		{"-n", stack.SampleNamespace, "annotate", "--overwrite", "hpa/sample", surge.Annotation + "="},
	} {
		if _, err := s.Kubectl(ctx, args...); err != nil {
			return fmt.Errorf("start the surge lane: %w", err)
		}
	}
	return nil
}

// printSurges prints the Events of the surge lane. It fails if the lane never raised.
func (d *demo) printSurges(ctx context.Context, s *stack.Stack) error {
	events, err := s.Client.CoreV1().Events(stack.SampleNamespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=" + surge.ReasonRaised})
	if err != nil {
		return fmt.Errorf("list the Events of the surge lane: %w", err)
	}
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	for _, e := range events.Items {
		fmt.Fprintf(d.out, "  surge lane %s\n", e.Message)
	}
	if len(events.Items) == 0 {
		return errors.New("the surge lane did not raise: kubectl -n " + stack.AdapterNamespace + " logs -l app.kubernetes.io/name=tachometer-scaler --tail=-1")
	}
	return nil
}
