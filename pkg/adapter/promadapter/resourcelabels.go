package promadapter

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Resource is a resource of the cluster.
type Resource struct {
	// Name is the plural, with the group behind a dot where there is one: pods, deployments.apps.
	Name string
	// Singular is the name of one, in lower case: pod, deployment.
	Singular string
	// Group is the API group; empty for the core group.
	Group string
	// Namespaced tells objects of namespaces from those of the cluster.
	Namespaced bool
}

// ResourceLookup knows the cluster's resources. It is safe for concurrent use.
type ResourceLookup interface {
	// LookupResource is the resource of a partial name: pod, pods, deployment, deployments.apps, ingress.networking.k8s.io. Where
	// there is none the error is a metric.KindNotFound; any other error means that it cannot be told now.
	LookupResource(name string) (Resource, error)
}

// namespacesResource is the resource of which the request names one.
const namespacesResource = "namespaces"

// labelTemplate is resources.template: a label's name made from a resource, and the way back.
type labelTemplate struct {
	labelText *template.Template
	// labelRegexps find the names in a label: the first takes the shortest group that there can be, as it always was; the second
	// takes the longest, because the dots of a group become underscores in a label.
	labelRegexps []*regexp.Regexp
}

// labelTemplateArguments is what the template sees.
type labelTemplateArguments struct{ Group, Resource string }

func parseLabelTemplate(text string) (*labelTemplate, error) {
	t, err := parseTemplate("template", text)
	if err != nil {
		return nil, err
	}
	l := &labelTemplate{labelText: t}
	for _, group := range []string{"(?P<group>.+?)", "(?P<group>.+)"} {
		// What is around the names is part of the expression as it stands, as it always was.
		expr, err := renderTemplate(t, labelTemplateArguments{Group: group, Resource: "(?P<resource>.+?)"})
		if err != nil {
			return nil, err
		}
		re, err := regexp.Compile("^" + expr + "$")
		if err != nil {
			return nil, fmt.Errorf("does not make a regular expression that finds labels: %s", formatRegexpError(err))
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

// groupLabelReplacer is a group as a label can have it.
var groupLabelReplacer = strings.NewReplacer(".", "_", "-", "_")

// renderLabel is the label of a resource.
func (t *labelTemplate) renderLabel(r Resource) (string, error) {
	return renderTemplate(t.labelText, labelTemplateArguments{Group: groupLabelReplacer.Replace(r.Group), Resource: r.Singular})
}

// parseResourceNames are the partial names of resources that a label may stand for, the likeliest first; none if it does not have the
// template's form.
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

// lookupTemplateResource is the resource that a label names, if the cluster has such a resource.
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
	resources []Resource // of overrides, by index
	template  *labelTemplate
	cluster   ResourceLookup
}

// resolve looks the overrides' resources up. The error names the override.
func resolveResourceMapping(m ResourceMapping, t *labelTemplate, cluster ResourceLookup) (resolvedMapping, error) {
	out := resolvedMapping{overrides: m.Overrides, template: t, cluster: cluster}
	for _, o := range m.Overrides {
		r, err := cluster.LookupResource(o.resourceName())
		if err != nil {
			return resolvedMapping{}, fmt.Errorf("look up the resource of label %q: %w", o.Label, err)
		}
		out.resources = append(out.resources, r)
	}
	return out, nil
}

// lookupLabelResource is the resource that a label names, if any.
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

// findResourceLabel is the label that names objects of the resource: the first override whose label is among those that have is
// true for, then the first override at all, then what the template makes; empty if there is none.
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
	return m.template.renderLabel(r)
}
