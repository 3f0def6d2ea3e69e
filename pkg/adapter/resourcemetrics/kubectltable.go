// The table of kubectl get, in the columns of metrics-server.

package resourcemetrics

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/metrics/pkg/apis/metrics"
)

// usageTable is the table that kubectl get shows.
type usageTable struct{ table *metav1.Table }

func newUsageTable(opts runtime.Object) usageTable {
	t := &metav1.Table{}
	if o, ok := opts.(*metav1.TableOptions); !ok || !o.NoHeaders {
		t.ColumnDefinitions = []metav1.TableColumnDefinition{
			{Name: "Name", Type: "string", Format: "name", Description: "Name of the pod or node."},
			{Name: "cpu", Type: "string", Format: "quantity", Description: "CPU used, in cores, on average over the window."},
			{Name: "memory", Type: "string", Format: "quantity", Description: "Working set, in bytes."},
			{Name: "Window", Type: "string", Format: "duration", Description: "What the CPU usage is an average over."},
		}
	}
	return usageTable{t}
}

func (t usageTable) addPodUsageRow(m *metrics.PodMetrics) {
	sum := corev1.ResourceList{}
	for _, c := range m.Containers {
		for name, q := range c.Usage {
			total := sum[name]
			total.Add(q)
			sum[name] = total
		}
	}
	t.addKubectlRow(m, m.Name, sum, m.Window)
}

func (t usageTable) addNodeUsageRow(m *metrics.NodeMetrics) {
	t.addKubectlRow(m, m.Name, m.Usage, m.Window)
}

func (t usageTable) addKubectlRow(object runtime.Object, name string, usage corev1.ResourceList, window metav1.Duration) {
	t.table.Rows = append(t.table.Rows, metav1.TableRow{
		Cells:  []any{name, usage.Cpu().String(), usage.Memory().String(), window.Duration.String()},
		Object: runtime.RawExtension{Object: object},
	})
}
