package rule

import "tachometer/pkg/metric"

func (s *Set) notFound(resource, name string) error {
	return metric.Errorf(metric.KindNotFound, "no rule for metric %q on %s", name, resource)
}
