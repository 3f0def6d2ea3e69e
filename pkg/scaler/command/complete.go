// Completion of arguments and flags by a shell.

package command

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// maxCompletions bounds the names of a completion.
const maxCompletions = 500

func registerCompletion(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag is undefined: a bug here
	}
}

// completeWorkloads completes TYPE/NAME, and the names after a TYPE, with the Deployments and StatefulSets of the namespace, and with
// the objects of the type that is begun.
func (p *Program) completeWorkloads(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	c, err := p.Connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	if len(args) > 0 && !strings.Contains(args[0], "/") {
		return c.completeNamesOfKind(ctx, args[0], ""), cobra.ShellCompDirectiveNoFileComp
	}
	types := []string{"deployment", "statefulset"}
	if kind, _, found := strings.Cut(begun, "/"); found {
		types = []string{kind}
	}
	var all []string
	for _, kind := range types {
		all = append(all, c.completeNamesOfKind(ctx, kind, kind+"/")...)
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// completeNamesOfKind lists the names of the objects of a type, each behind a prefix.
func (c *Connection) completeNamesOfKind(ctx context.Context, kind, prefix string) (all []string) {
	t, err := c.parseWorkloadText(kind + "/any")
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

// completeHeldWorkloads completes the workloads with a hold.
func (p *Program) completeHeldWorkloads(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.completeFromHolds(cmd.Context(), func(h *hold.Object) string {
		gvk := h.HeldWorkload().GroupVersionKind()
		kind := strings.ToLower(gvk.Kind)
		if gvk.Group != "apps" && gvk.Group != "" {
			kind += "." + gvk.Group
		}
		return kind + "/" + h.Spec.Workload.Name
	})
}

// completeHoldReasons completes the IDs of the holds in the namespace.
func (p *Program) completeHoldReasons(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.completeFromHolds(cmd.Context(), (*hold.Object).HoldID)
}

// completeSetReasons completes the names of the holds in the namespace that set made.
func (p *Program) completeSetReasons(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.completeFromHolds(cmd.Context(), func(h *hold.Object) string {
		name, _ := strings.CutPrefix(h.HoldID(), hold.SetPrefix)
		if name == h.HoldID() {
			return ""
		}
		return name
	})
}

// completeFromHolds completes a text of each hold in the namespace; empty: of none. It leaves out what a shell would not take as one plain word:
// not every shell quotes a completion, and whoever may create a Hold writes its texts.
func (p *Program) completeFromHolds(ctx context.Context, text func(*hold.Object) string) ([]string, cobra.ShellCompDirective) {
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
		if word := text(&holds[i]); plaintext.IsShellWord(word) {
			all = append(all, word)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), cobra.ShellCompDirectiveNoFileComp
}

// completeNotifyFlag completes KIND: of a notifier, and then the name of a file.
func completeNotifyFlag(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(begun, ":") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var all []string
	for _, kind := range notify.Kinds() {
		all = append(all, kind+":")
	}
	return all, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
