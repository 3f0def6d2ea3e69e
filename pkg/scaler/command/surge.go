// The surge lane in the command status.

package command

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// scalerSurgeEvents selects the Events of the surge lane: all Events of the scaler about autoscalers.
const scalerSurgeEvents = "involvedObject.kind=HorizontalPodAutoscaler,source=" + hold.Manager

// printSurgeEvents prints the latest Event of the surge lane about each autoscaler of the workloads, or of the namespace without
// workloads. Where Events cannot be read it says so, and the holds are shown all the same.
func (p *Program) printSurgeEvents(ctx context.Context, c *Connection, namespace string, args []string, now time.Time) error {
	latest, err := c.listSurgeEvents(ctx, namespace, args)
	if err != nil {
		fmt.Fprintln(p.Errs, plaintext.Clean("the surge lane is not shown: "+err.Error()))
		return nil
	}
	if len(latest) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nNAMESPACE\tAUTOSCALER\tSURGE LANE\tAGE\tMESSAGE")
	for i := range latest {
		e := &latest[i]
		fmt.Fprintf(t, "%s\thpa/%s\t%s\t%s\t%s\n", e.Namespace, plaintext.Clean(e.InvolvedObject.Name), plaintext.Clean(e.Reason),
			describeTimeSpan(now.Sub(e.LastTimestamp.Time)), plaintext.Clean(e.Message))
	}
	return t.Flush()
}

// listSurgeEvents lists the latest Event of the surge lane about each autoscaler.
func (c *Connection) listSurgeEvents(ctx context.Context, namespace string, args []string) ([]corev1.Event, error) {
	pages := pager.New(func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
		return c.Client.CoreV1().Events(namespace).List(ctx, opts) // the API server filters: in one page it would load all Events at once
	})
	var all []corev1.Event
	err := pages.EachListItem(ctx, metav1.ListOptions{FieldSelector: scalerSurgeEvents}, func(o runtime.Object) error {
		if e, ok := o.(*corev1.Event); ok {
			all = append(all, *e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	if len(args) > 0 && len(all) > 0 {
		if all, err = c.keepWorkloadEvents(ctx, all, args); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b corev1.Event) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.InvolvedObject.Name, b.InvolvedObject.Name), b.LastTimestamp.Compare(a.LastTimestamp.Time))
	})
	return slices.CompactFunc(all, func(a, b corev1.Event) bool {
		return a.Namespace == b.Namespace && a.InvolvedObject.Name == b.InvolvedObject.Name
	}), nil
}

// keepWorkloadEvents returns the Events about autoscalers of the workloads.
func (c *Connection) keepWorkloadEvents(ctx context.Context, all []corev1.Event, args []string) ([]corev1.Event, error) {
	only, err := c.parseWorkloadArgs(args)
	if err != nil {
		return nil, err
	}
	kept := map[string]bool{}
	list := c.Client.AutoscalingV2().HorizontalPodAutoscalers(c.Namespace).List
	err = kube.EachListPage(ctx, metav1.ListOptions{}, list, func(page *autoscalingv2.HorizontalPodAutoscalerList) error {
		for i := range page.Items {
			ref := page.Items[i].Spec.ScaleTargetRef
			target := hold.Workload{APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: c.Namespace, Name: ref.Name}
			kept[page.Items[i].Name] = slices.ContainsFunc(only, target.IsSameObject)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list autoscalers: %w", err)
	}
	return slices.DeleteFunc(all, func(e corev1.Event) bool { return !kept[e.InvolvedObject.Name] }), nil
}
