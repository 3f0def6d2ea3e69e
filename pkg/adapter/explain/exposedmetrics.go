// The list of metrics: families on the pages of pods, with the metrics that rules compute from them, and demands.

package explain

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/warning"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

const (
	// maxExposedWarnings bounds the warnings about single pages.
	maxExposedWarnings = 5
	// maxServedMetrics bounds the metrics of a family in a list. The built-in rules make seven of one.
	maxServedMetrics = 50
)

// exposedFamilies are the families of several pages. It is safe for concurrent use.
type exposedFamilies struct {
	mu        sync.Mutex // guards the rest
	families  map[string]*exposedFamily
	bytes     int
	truncated bool
}

// exposedFamily is a family and the number of pods that expose it.
type exposedFamily struct {
	exposition.ListedFamily
	targets int
}

func newExposedFamilies() *exposedFamilies {
	return &exposedFamilies{families: map[string]*exposedFamily{}}
}

// addExposedFamilies adds the families of a page that stands for so many pods. Of two pages the one with a type and a help counts.
func (e *exposedFamilies) addExposedFamilies(families []exposition.ListedFamily, targets int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range families {
		known := e.families[f.Name]
		if known == nil {
			if e.bytes+f.Bytes() > memorybounds.FamilyList {
				e.truncated = true
				continue
			}
			e.bytes += f.Bytes()
			known = &exposedFamily{ListedFamily: f}
			e.families[f.Name] = known
		}
		known.targets += targets
		if known.Type == model.MetricTypeUnknown {
			known.Type = f.Type
		}
		if known.Help == "" && e.bytes+len(f.Help) <= memorybounds.FamilyList {
			known.Help, e.bytes = f.Help, e.bytes+len(f.Help)
		}
	}
}

// exposedTypeOf returns the type of a family, and whether a page has it.
func (e *exposedFamilies) exposedTypeOf(family string) (model.MetricType, bool) {
	f := e.families[family]
	if f == nil {
		return "", false
	}
	return f.Type, true
}

// listExposedFamilies returns the families on the pages of a namespace's pods that the selector matches, and the demanded metrics; of all
// namespaces the demanded metrics alone.
func (a *API) listExposedFamilies(ctx context.Context, namespace string, selector labels.Selector) (runtime.Object, error) {
	list := &explainapi.MetricList{Source: a.newReplicaSource(), Items: []explainapi.Metric{}}
	if namespace == "" {
		a.addServedDemands(list, namespace, nil)
		return list, nil
	}
	free, err := a.exposed.takeRequestPlace(namespace)
	if err != nil {
		return nil, err
	}
	defer free()
	workloads := a.listExposedWorkloads(namespace, selector)
	if n := len(workloads); n > maxExposedWorkloads {
		workloads, list.UnreadWorkloads = workloads[:maxExposedWorkloads], n-maxExposedWorkloads
	}
	exposed, err := a.readExposedWorkloads(ctx, namespace, workloads)
	if err != nil {
		return nil, err
	}
	list.Truncated = exposed.truncated
	for i := range workloads {
		list.Pages = append(list.Pages, workloads[i].read)
	}
	slices.SortFunc(list.Pages, func(a, b explainapi.MetricPage) int { return cmp.Compare(a.Workload, b.Workload) })
	for _, name := range slices.Sorted(maps.Keys(exposed.families)) {
		list.Items = append(list.Items, a.newExposedMetric(namespace, exposed.families[name], exposed))
	}
	a.addServedDemands(list, namespace, selector)
	warnOfExposedGaps(ctx, list)
	return list, nil
}

func (a *API) newExposedMetric(namespace string, f *exposedFamily, all *exposedFamilies) explainapi.Metric {
	m := explainapi.Metric{Type: string(f.Type), Help: f.Help, Unit: f.Unit, Targets: f.targets}
	m.Name, m.Namespace = f.Name, namespace
	served := a.deps.MetricsOf(namespace, f.Name, all.exposedTypeOf)
	for _, served := range served[:min(len(served), maxServedMetrics)] {
		m.Metrics = append(m.Metrics, explainapi.ServedMetric{
			Name: served.Metric, Resource: served.Resource, External: served.External, Pattern: served.Pattern,
		})
	}
	return m
}

// addServedDemands adds the demands of a namespace to the families that serve them, and the others as items of their own: without
// families, and if the list is of all pods.
func (a *API) addServedDemands(list *explainapi.MetricList, namespace string, selector labels.Selector) {
	families := list.Items
	for _, d := range a.deps.Discovery.Demanded() {
		if _, reviewed := ReviewedFamilies(d.Metric); reviewed || namespace != "" && d.Namespace != namespace {
			continue
		}
		demand, served := a.convertDemand(d), false
		for i := range families {
			if m := &families[i]; m.Serves(demand) {
				m.Demands, served = append(m.Demands, demand), true
			}
		}
		if served || selector != nil && !selector.Empty() {
			continue
		}
		m := explainapi.Metric{Demands: []explainapi.MetricDemand{demand}}
		m.Name, m.Namespace = d.Metric, d.Namespace
		list.Items = append(list.Items, m)
	}
}

func (a *API) convertDemand(d discovery.Demand) explainapi.MetricDemand {
	demand := explainapi.MetricDemand{
		Metric: d.Metric, Resource: d.Resource, External: d.External, Object: d.Object, Autoscaled: d.Standing,
		Families: a.deps.Families(d.Resource, d.Metric, d.External),
	}
	if d.Selector != nil {
		demand.Selector = d.Selector.String()
	}
	return demand
}

// warnOfExposedGaps tells clients that show warnings, as kubectl does, what a list lacks.
func warnOfExposedGaps(ctx context.Context, list *explainapi.MetricList) {
	failed := 0
	for _, p := range list.Pages {
		text := ""
		switch {
		case p.Error != "":
			text = p.Error
		case p.Truncated:
			text = fmt.Sprintf("it has more families than the %d that are listed", p.Families)
		default:
			continue
		}
		if failed++; failed <= maxExposedWarnings {
			warning.AddWarning(ctx, "", fmt.Sprintf("page of pod %s for %s: %s", p.Pod, p.Workload, text))
		}
	}
	if failed > maxExposedWarnings {
		warning.AddWarning(ctx, "", fmt.Sprintf("pages of %d further workloads: see pages in -o json", failed-maxExposedWarnings))
	}
	if len(list.Pages) == 0 {
		warning.AddWarning(ctx, "", explainapi.NoMetricPages)
	}
	if list.UnreadWorkloads > 0 {
		warning.AddWarning(ctx, "", fmt.Sprintf("%d workloads were not read, a list reads %d: select pods by -l", list.UnreadWorkloads, maxExposedWorkloads))
	}
	if list.Truncated {
		warning.AddWarning(ctx, "", fmt.Sprintf("the pages have more than the %d families that are listed: select pods by -l", len(list.Items)))
	}
}
