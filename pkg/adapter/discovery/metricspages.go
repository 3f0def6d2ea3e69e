// This file lists the pods whose pages show which metrics could be demanded.

package discovery

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
)

// MetricsPage is the metrics endpoint of a live pod that is a target, or becomes one with the first demand for one of its metrics.
type MetricsPage struct {
	Pod
	URL string
}

// Workload returns the pod's workload, or else the pod: its pods have pages with the same families.
func (p *MetricsPage) Workload() string { return cmp.Or(p.Owner, "Pod/"+p.Name) }

// MetricsPages returns the pages of the pods that the selector matches (nil: all) in a namespace, sorted by name. Endpoints of rules' own
// targets are not among them. The caller owns the slice.
func (d *Discovery) MetricsPages(namespace string, selector labels.Selector) []MetricsPage {
	s := d.state.Load()
	var candidates []*storedPod
	if namespace == "" {
		return nil
	}
	d.pods.visitStoredPods(podScope{namespace: namespace, selector: selector}, func(p *storedPod) {
		wanted := p.annotated || s.marks[p].autoscaled || s.isChosenPodTarget(p.storedPodKey())
		if p.Live && p.url != "" && !p.ofRule && wanted {
			candidates = append(candidates, p)
		}
	})
	pages := make([]MetricsPage, 0, len(candidates))
	for _, p := range candidates {
		if d.pods.findEndpointRival(p) == nil {
			pages = append(pages, MetricsPage{p.Pod, p.url})
		}
	}
	slices.SortFunc(pages, func(a, b MetricsPage) int { return cmp.Compare(a.Name, b.Name) })
	return pages
}
