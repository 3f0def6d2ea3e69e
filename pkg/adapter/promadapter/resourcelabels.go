// The mapping between labels and the resources of a cluster, by overrides and by template.

package promadapter

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Resource is a resource of the cluster.
type Resource struct {
	// Name is the plural, followed by a dot and the group outside the core group: pods, deployments.apps.
	Name string
	// Singular is the singular in lower case: pod, deployment.
	Singular string
	// Group is the API group; empty for the core group.
	Group string
	// Namespaced reports whether the objects belong to namespaces.
	Namespaced bool
}

// ResourceLookup looks up the resources of a cluster. It is safe for concurrent use.
type ResourceLookup interface {
	// LookupResource returns the resource of a partial name: pod, pods, deployment, deployments.apps, ingress.networking.k8s.io.
	// The error for an unknown resource is a metric.KindNotFound. Any other error means that the lookup failed.
	LookupResource(name string) (Resource, error)
}

// namespacesResource is the resource of namespaces, which every request for a namespaced object names.
const namespacesResource = "namespaces"

// labelTemplate is resources.template. It renders the label of a resource and finds the resource of a label.
type labelTemplate struct {
	labelText *template.Template
	// labelRegexps find the names in a label. The first matches the shortest possible group, like prometheus-adapter. The second
	// matches the longest, because the dots of a group become underscores in a label.
	labelRegexps []*regexp.Regexp
}

// labelTemplateArguments are the arguments of resources.template.
type labelTemplateArguments struct{ Group, Resource string }

func parseLabelTemplate(text string) (*labelTemplate, error) {
	t, err := parseSeriesRuleTemplate("template", text)
	if err != nil {
		return nil, err
	}
	l := &labelTemplate{labelText: t}
	for _, group := range []string{"(?P<group>.+?)", "(?P<group>.+)"} {
		// The rest of the template is part of the expression without quoting, like in prometheus-adapter.
		expr, err := renderSeriesRuleTemplate(t, labelTemplateArguments{Group: group, Resource: "(?P<resource>.+?)"})
		if err != nil {
			return nil, err
		}
		re, err := regexp.Compile("^" + expr + "$")
		if err != nil {
			return nil, fmt.Errorf("does not give a regular expression for labels: %s", formatRegexpError(err))
		}
		if re.SubexpIndex("resource") < 0 {
			return nil, errors.New("must use <<.Resource>>")
		}
		l.labelRegexps = append(l.labelRegexps, re)
	}
	return l, nil
}

func formatRegexpError(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

// groupLabelReplacer replaces the characters of a group that a label cannot have.
var groupLabelReplacer = strings.NewReplacer(".", "_", "-", "_")

func (t *labelTemplate) renderResourceLabel(r Resource) (string, error) {
	return renderSeriesRuleTemplate(t.labelText, labelTemplateArguments{Group: groupLabelReplacer.Replace(r.Group), Resource: r.Singular})
}

// parseResourceNames returns the partial resource names that a label may stand for, the likeliest first. It returns none if the
// label does not match the template.
func (t *labelTemplate) parseResourceNames(label string) []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, re := range t.labelRegexps {
		m := re.FindStringSubmatch(label)
		if m == nil {
			return nil
		}
		resource, group := m[re.SubexpIndex("resource")], re.SubexpIndex("group")
		if group < 0 {
			add(resource)
			continue
		}
		add(resource + "." + m[group])
		add(resource + "." + strings.ReplaceAll(m[group], "_", "."))
	}
	return names
}

// lookupTemplateResource returns the resource of a label, and false if the cluster has no such resource.
func (t *labelTemplate) lookupTemplateResource(label string, resources ResourceLookup) (Resource, bool, error) {
	for _, name := range t.parseResourceNames(label) {
		switch r, err := resources.LookupResource(name); {
		case err == nil:
			return r, true, nil
		case metric.KindOf(err) != metric.KindNotFound:
			return Resource{}, false, fmt.Errorf("look up the resource of label %q: %w", label, err)
		}
	}
	return Resource{}, false, nil
}

// resolvedMapping is a ResourceMapping in a cluster.
type resolvedMapping struct {
	overrides []LabelOverride
	resources []Resource // of the overrides, by index
	template  *labelTemplate
	cluster   ResourceLookup
}

// resolveResourceMapping looks up the resources of the overrides. The error names the override.
func resolveResourceMapping(m ResourceMapping, t *labelTemplate, cluster ResourceLookup) (resolvedMapping, error) {
	out := resolvedMapping{overrides: m.Overrides, template: t, cluster: cluster}
	for _, o := range m.Overrides {
		r, err := cluster.LookupResource(o.overriddenResource())
		if err != nil {
			return resolvedMapping{}, fmt.Errorf("look up the resource of label %q: %w", o.Label, err)
		}
		out.resources = append(out.resources, r)
	}
	return out, nil
}

// lookupLabelResource returns the resource of a label, and false if it has none.
func (m resolvedMapping) lookupLabelResource(label string) (Resource, bool, error) {
	for i, o := range m.overrides {
		if o.Label == label {
			return m.resources[i], true, nil
		}
	}
	if m.template == nil {
		return Resource{}, false, nil
	}
	return m.template.lookupTemplateResource(label, m.cluster)
}

// findResourceLabel returns the label for objects of the resource. It prefers the first override with a label for which have is
// true, then the first override, then the label of the template. It returns no label if the mapping has none.
func (m resolvedMapping) findResourceLabel(resource string, have func(label string) bool) (string, error) {
	first := ""
	for i, r := range m.resources {
		if r.Name != resource {
			continue
		}
		if have(m.overrides[i].Label) {
			return m.overrides[i].Label, nil
		}
		if first == "" {
			first = m.overrides[i].Label
		}
	}
	if first != "" || m.template == nil {
		return first, nil
	}
	r, err := m.cluster.LookupResource(resource)
	if err != nil {
		return "", fmt.Errorf("look up %s: %w", resource, err)
	}
	return m.template.renderResourceLabel(r)
}
