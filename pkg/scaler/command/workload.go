// The workload arguments of a command, as kubectl takes them.

package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// workloadUse is the workload in the usage of commands, and workloadHelp its explanation.
const (
	workloadUse  = "(TYPE NAME | TYPE/NAME)"
	workloadHelp = `A workload is TYPE NAME or TYPE/NAME, as in kubectl. A type is a singular, plural or short name of a resource with replicas, such as
deploy, with its group and version where the name alone is not enough: rollouts.argoproj.io, deployments.v1.apps.`
)

// splitWorkloadArgs returns the arguments as TYPE/NAME. With TYPE first, each further argument is a name.
func splitWorkloadArgs(args []string) ([]string, error) {
	slash := func(arg string) bool { return strings.Contains(arg, "/") }
	switch {
	case len(args) == 0:
		return nil, UsageErrorf("want a workload: TYPE NAME or TYPE/NAME, such as deploy/shop")
	case slash(args[0]):
		if i := slices.IndexFunc(args, func(arg string) bool { return !slash(arg) }); i > 0 {
			return nil, UsageErrorf("workload %q: after TYPE/NAME, every workload is TYPE/NAME", args[i])
		}
		return args, nil
	case len(args) == 1:
		return nil, UsageErrorf("workload %q: want TYPE NAME or TYPE/NAME, such as deploy/%s", args[0], args[0])
	}
	var all []string
	for _, name := range args[1:] {
		if slash(name) {
			return nil, UsageErrorf("workload %q: after a TYPE alone, every argument is a NAME", name)
		}
		all = append(all, args[0]+"/"+name)
	}
	return all, nil
}

// requireWorkloadArgs rejects arguments that are no workloads, without a request to the cluster.
func requireWorkloadArgs(_ *cobra.Command, args []string) error {
	_, err := splitWorkloadArgs(args)
	return err
}

// parseWorkloadArgs parses the workload arguments of a command, each workload once.
func (c *Connection) parseWorkloadArgs(args []string) (all []hold.Workload, err error) {
	texts, err := splitWorkloadArgs(args)
	if err != nil {
		return nil, err
	}
	for _, text := range texts {
		t, err := c.parseWorkloadText(text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return all, nil
}

// parseWorkloadArg parses the arguments of a command that takes one workload.
func (c *Connection) parseWorkloadArg(args []string) (hold.Workload, error) {
	all, err := c.parseWorkloadArgs(args)
	if err != nil {
		return hold.Workload{}, err
	}
	if len(all) > 1 {
		return hold.Workload{}, UsageErrorf("want one workload; got %d", len(all))
	}
	return all[0], nil
}

// parseWorkloadText parses TYPE/NAME, or APIVERSION/KIND/NAME as configurations have it. The types of apps/v1 need no request to the
// cluster.
func (c *Connection) parseWorkloadText(text string) (hold.Workload, error) {
	kind, name, _ := strings.Cut(text, "/")
	if t, err := hold.ParseWorkload(text, c.Namespace); err == nil {
		return t, c.requireServedVersion(t.GroupVersionKind())
	} else if kind == "" || name == "" || strings.Contains(name, "/") {
		return t, WithExitCode(err, ExitUsage)
	}
	found, err := c.resolveWorkloadArgKind(kind)
	if err != nil {
		return hold.Workload{}, err
	}
	t := hold.Workload{Namespace: c.Namespace, Name: name}
	t.APIVersion, t.Kind = found.ToAPIVersionAndKind()
	return t, nil
}

// resolveWorkloadArgKind finds the kind of a type: TYPE, TYPE.GROUP or TYPE.VERSION.GROUP. The kind must have a scale.
func (c *Connection) resolveWorkloadArgKind(text string) (schema.GroupVersionKind, error) {
	versioned, plain := schema.ParseResourceArg(strings.ToLower(text))
	var kind schema.GroupVersionKind
	err := error(&meta.NoResourceMatchError{})
	if versioned != nil {
		kind, err = c.Mapper.KindFor(versioned.GroupResource().WithVersion("")) // of any version
		if err == nil && kind.Group != versioned.Group {                        // a prefix of the group alone
			err = &meta.NoResourceMatchError{PartialResource: *versioned}
		}
		if err == nil {
			kind.Version = versioned.Version
			if fault := c.requireServedVersion(kind); fault != nil {
				return kind, fault
			}
		}
	}
	if meta.IsNoMatchError(err) {
		kind, err = c.Mapper.KindFor(plain.WithVersion(""))
	}
	switch {
	case meta.IsNoMatchError(err):
		return kind, UsageErrorf("the cluster has no type %q%s", text, c.describeScalableTypes())
	case err != nil:
		return kind, fmt.Errorf("find the type %s: %w", text, err)
	}
	types, err := c.listScalableTypes()
	if err != nil {
		return kind, fmt.Errorf("find the type %s: %w", text, err)
	}
	if !slices.ContainsFunc(types, func(t scalableType) bool { return t.kind == kind }) {
		return kind, UsageErrorf("%s has no replicas to hold: its resource has no scale%s", text, c.describeScalableTypes())
	}
	return kind, nil
}

// appsVersion is the version of the kinds that need no request to the cluster.
const appsVersion = "apps/v1"

// requireServedVersion returns an error for a version of a kind that the cluster does not serve, while it serves others. An unknown kind is the next
// request's error.
func (c *Connection) requireServedVersion(kind schema.GroupVersionKind) error {
	if kind.GroupVersion().String() == appsVersion {
		return nil
	}
	served, err := c.Mapper.RESTMappings(kind.GroupKind())
	if err != nil {
		return nil //nolint:nilerr // an unknown kind, or a cluster that does not answer
	}
	var versions []string
	for _, m := range served {
		versions = append(versions, m.GroupVersionKind.Version)
	}
	if len(versions) == 0 || slices.Contains(versions, kind.Version) {
		return nil
	}
	slices.Sort(versions)
	return UsageErrorf("the cluster serves %s of %s in version %s, not in %s", kind.Kind, kind.Group, strings.Join(slices.Compact(versions), ", "), kind.Version)
}

// scalableType is a type of the cluster with a scale subresource.
type scalableType struct {
	kind     schema.GroupVersionKind
	resource string // plural
}

// listScalableTypes lists the types of the cluster with a scale subresource. Groups that do not answer are left out.
func (c *Connection) listScalableTypes() (all []scalableType, err error) {
	_, lists, err := c.Discovery.ServerGroupsAndResources()
	if err != nil && len(lists) == 0 {
		return nil, err
	}
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for i := range list.APIResources {
			plural, isScale := strings.CutSuffix(list.APIResources[i].Name, "/scale")
			for j := range list.APIResources {
				if r := &list.APIResources[j]; isScale && r.Name == plural {
					all = append(all, scalableType{kind: group.WithKind(r.Kind), resource: plural})
				}
			}
		}
	}
	return all, nil
}

// describeScalableTypes returns the types that a workload may have, as the end of an error; empty if they cannot be read.
func (c *Connection) describeScalableTypes() string {
	types, err := c.listScalableTypes()
	if err != nil || len(types) == 0 {
		return ""
	}
	var names []string
	for _, t := range types {
		name := t.resource
		if t.kind.Group != "" {
			name += "." + t.kind.Group
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return "; types with replicas: " + strings.Join(slices.Compact(names), ", ")
}

// maxNamesInError is how many names of workloads an error lists.
const maxNamesInError = 10

// requireWorkload returns an error if the workload does not exist. The error names the workloads that do.
func (c *Connection) requireWorkload(ctx context.Context, e *rollout.Engine, t hold.Workload) error {
	scale, err := e.Cluster.GetScale(ctx, t)
	if err == nil && scale == nil {
		err = fmt.Errorf("%w%s", rollout.ErrGone, c.describeWorkloadNames(ctx, t))
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", t, err)
	}
	return nil
}

// describeWorkloadNames returns the names of the workloads of a kind in a namespace, as the end of an error; empty if they cannot be
// read.
func (c *Connection) describeWorkloadNames(ctx context.Context, t hold.Workload) string {
	kind := t.GroupVersionKind()
	mapping, err := c.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return ""
	}
	list, err := c.Dynamic.Resource(mapping.Resource).Namespace(t.Namespace).List(ctx, metav1.ListOptions{Limit: maxNamesInError + 1})
	if err != nil {
		return ""
	}
	if len(list.Items) == 0 {
		return fmt.Sprintf("; the namespace has no %s", mapping.Resource.Resource)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].GetName())
	}
	if len(names) > maxNamesInError {
		names = append(names[:maxNamesInError], "…")
	}
	return fmt.Sprintf("; the namespace has the %s %s", mapping.Resource.Resource, strings.Join(names, ", "))
}
