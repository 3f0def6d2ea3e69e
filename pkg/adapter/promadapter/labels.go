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

// Resources knows the cluster's resources. It is safe for concurrent use.
type Resources interface {
	// Resource is the resource of a partial name: pod, pods, deployment, deployments.apps, ingress.networking.k8s.io. Where
	// there is none the error is a metric.KindNotFound; any other error means that it cannot be told now.
	Resource(name string) (Resource, error)
}

// namespaces is the resource of which the request names one.
const namespaces = "namespaces"

// labelTemplate is resources.template: a label's name made from a resource, and the way back.
type labelTemplate struct {
	make *template.Template
	// forms find the names in a label: the first takes the shortest group that there can be, as it always was; the second
	// takes the longest, because the dots of a group become underscores in a label.
	forms []*regexp.Regexp
}

// groupResource is what the template sees.
type groupResource struct{ Group, Resource string }

func parseLabelTemplate(text string) (*labelTemplate, error) {
	t, err := parseTemplate("template", text)
	if err != nil {
		return nil, err
	}
	l := &labelTemplate{make: t}
	for _, group := range []string{"(?P<group>.+?)", "(?P<group>.+)"} {
		// What is around the names is part of the expression as it stands, as it always was.
		expr, err := execute(t, groupResource{Group: group, Resource: "(?P<resource>.+?)"})
		if err != nil {
			return nil, err
		}
		re, err := regexp.Compile("^" + expr + "$")
		if err != nil {
			return nil, fmt.Errorf("does not make a regular expression that finds labels: %s", regexpError(err))
		}
		if re.SubexpIndex("resource") < 0 {
			return nil, errors.New("must use <<.Resource>>")
		}
		l.forms = append(l.forms, re)
	}
	return l, nil
}

func regexpError(err error) string { return strings.TrimPrefix(err.Error(), "error parsing regexp: ") }

// groupInLabel is a group as a label can have it.
var groupInLabel = strings.NewReplacer(".", "_", "-", "_")

// label is the label of a resource.
func (t *labelTemplate) label(r Resource) (string, error) {
	return execute(t.make, groupResource{Group: groupInLabel.Replace(r.Group), Resource: r.Singular})
}

// names are the partial names of resources that a label may stand for, the likeliest first; none if it does not have the
// template's form.
func (t *labelTemplate) names(label string) []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, re := range t.forms {
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

// resourceOf is the resource that a label names, if the cluster has such a resource.
func (t *labelTemplate) resourceOf(label string, resources Resources) (Resource, bool, error) {
	for _, name := range t.names(label) {
		switch r, err := resources.Resource(name); {
		case err == nil:
			return r, true, nil
		case metric.KindOf(err) != metric.KindNotFound:
			return Resource{}, false, fmt.Errorf("look up the resource of label %q: %w", label, err)
		}
	}
	return Resource{}, false, nil
}

// mapping is a ResourceMapping in a cluster.
type mapping struct {
	overrides []Override
	resources []Resource // of overrides, by index
	template  *labelTemplate
	cluster   Resources
}

// resolve looks the overrides' resources up. The error names the override.
func resolveMapping(m ResourceMapping, t *labelTemplate, cluster Resources) (mapping, error) {
	out := mapping{overrides: m.Overrides, template: t, cluster: cluster}
	for _, o := range m.Overrides {
		r, err := cluster.Resource(o.name())
		if err != nil {
			return mapping{}, fmt.Errorf("look up the resource of label %q: %w", o.Label, err)
		}
		out.resources = append(out.resources, r)
	}
	return out, nil
}

// resourceOf is the resource that a label names, if any.
func (m mapping) resourceOf(label string) (Resource, bool, error) {
	for i, o := range m.overrides {
		if o.Label == label {
			return m.resources[i], true, nil
		}
	}
	if m.template == nil {
		return Resource{}, false, nil
	}
	return m.template.resourceOf(label, m.cluster)
}

// labelOf is the label that names objects of the resource: the first override whose label is among those that have is
// true for, then the first override at all, then what the template makes; empty if there is none.
func (m mapping) labelOf(resource string, have func(label string) bool) (string, error) {
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
	r, err := m.cluster.Resource(resource)
	if err != nil {
		return "", fmt.Errorf("look up %s: %w", resource, err)
	}
	return m.template.label(r)
}
