// Completion of arguments and flags by a shell.

package command

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// maxCompletions bounds the names of a completion.
const maxCompletions = 500

func registerScalerCompletion(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag is undefined: a bug here
	}
}

// completeScalerWorkloads completes TYPE/NAME, and the names after a TYPE, with the Deployments and StatefulSets of the namespace, and with
// the objects of the type that is begun.
func (p *Program) completeScalerWorkloads(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	c, err := p.Connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	if len(args) > 0 && !strings.Contains(args[0], "/") {
		return c.completeScalerNames(ctx, args[0], ""), cobra.ShellCompDirectiveNoFileComp
	}
	types := []string{"deployment", "statefulset"}
	if kind, _, found := strings.Cut(begun, "/"); found {
		types = []string{kind}
	}
	var all []string
	for _, kind := range types {
		all = append(all, c.completeScalerNames(ctx, kind, kind+"/")...)
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// completeScalerNames lists the names of the objects of a type, each behind a prefix.
func (c *Connection) completeScalerNames(ctx context.Context, kind, prefix string) (all []string) {
	t, err := c.parseScalerWorkload(kind + "/any")
	if err != nil {
		return nil
	}
	gvk := t.GroupVersionKind()
	mapping, err := c.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil
	}
	list, err := c.Dynamic.Resource(mapping.Resource).Namespace(c.Namespace).List(ctx, metav1.ListOptions{Limit: maxCompletions})
	if err != nil {
		return nil
	}
	for i := range list.Items {
		all = append(all, prefix+list.Items[i].GetName())
	}
	return all
}

// completeScalerHeldWorkloads completes the workloads with a hold.
func (p *Program) completeScalerHeldWorkloads(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.completeFromScalerHolds(cmd.Context(), func(h *hold.Object) string {
		gvk := h.HeldWorkload().GroupVersionKind()
		kind := strings.ToLower(gvk.Kind)
		if gvk.Group != "apps" && gvk.Group != "" {
			kind += "." + gvk.Group
		}
		return kind + "/" + h.Spec.Workload.Name
	})
}

// completeScalerReasons completes the IDs of the holds in the namespace.
func (p *Program) completeScalerReasons(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.completeFromScalerHolds(cmd.Context(), (*hold.Object).HoldID)
}

// completeScalerSetReasons completes the names of the holds in the namespace that set made.
func (p *Program) completeScalerSetReasons(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.completeFromScalerHolds(cmd.Context(), func(h *hold.Object) string {
		name, _ := strings.CutPrefix(h.HoldID(), setHoldPrefix)
		if name == h.HoldID() {
			return ""
		}
		return name
	})
}

// completeFromScalerHolds completes a text of each hold in the namespace; empty: of none.
func (p *Program) completeFromScalerHolds(ctx context.Context, text func(*hold.Object) string) ([]string, cobra.ShellCompDirective) {
	c, err := p.Connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	holds, err := c.Holds.ListHolds(ctx, c.Namespace, "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var all []string
	for i := range holds {
		if word := text(&holds[i]); word != "" {
			all = append(all, word)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), cobra.ShellCompDirectiveNoFileComp
}

// completeScalerNotifiers completes KIND: of a notifier, and then the name of a file.
func completeScalerNotifiers(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(begun, ":") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var all []string
	for _, kind := range notify.Kinds() {
		all = append(all, kind+":")
	}
	return all, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
