// The dashboard's calendar: the schedules in the scaler's configuration, read with the user's rights.

package main

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/dashboard"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
)

const (
	// scalerSelector finds the scaler's Deployment, as the manifests and the chart label it.
	scalerSelector = "app.kubernetes.io/part-of=tachometer"
	// scalerNamespace is searched by a user without the right to list Deployments everywhere.
	scalerNamespace = "tachometer"

	// The calendar shows the next windows of a schedule, within a year: a sale may be months away.
	calendarSpan    = 366 * 24 * time.Hour
	calendarWindows = 3
	// maxCalendarWorkloads bounds the workloads of a calendar, each counted once for each of its schedules.
	maxCalendarWorkloads = 200
)

// calendarReader reads the schedules of workloads in a namespace; empty: in all.
type calendarReader struct {
	client    kubernetes.Interface
	namespace string
}

var _ dashboard.CalendarReader = calendarReader{}

// ReadCalendars implements dashboard.CalendarReader.
func (r calendarReader) ReadCalendars(ctx context.Context, now time.Time) ([]dashboard.Calendar, error) {
	scalers, err := r.client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: scalerSelector})
	searched := "the cluster"
	if apierrors.IsForbidden(err) {
		searched = "namespace " + scalerNamespace + " (you may not list Deployments of all namespaces)"
		scalers, err = r.client.AppsV1().Deployments(scalerNamespace).List(ctx, metav1.ListOptions{LabelSelector: scalerSelector})
	}
	if err != nil {
		return nil, fmt.Errorf("find the scaler: %w", err)
	}
	var calendars []dashboard.Calendar
	for i := range scalers.Items {
		d := &scalers.Items[i]
		source, isScaler := findScalerConfigMap(&d.Spec.Template.Spec)
		if !isScaler {
			continue
		}
		source.Namespace = d.Namespace
		if !slices.ContainsFunc(calendars, func(c dashboard.Calendar) bool {
			return c.Namespace == source.Namespace && c.ConfigMap == source.ConfigMap && c.Key == source.Key
		}) {
			calendars = append(calendars, r.readCalendar(ctx, source, now))
		}
	}
	if len(calendars) == 0 {
		return nil, fmt.Errorf("no Deployment with the label %s in %s runs the scaler with a ConfigMap", scalerSelector, searched)
	}
	return calendars, nil
}

// findScalerConfigMap returns the ConfigMap and the key of the scaler's configuration; false if the pods do not run the scaler, or have no such
// ConfigMap.
func findScalerConfigMap(pod *corev1.PodSpec) (dashboard.Calendar, bool) {
	for i := range pod.Containers {
		c := &pod.Containers[i]
		words := slices.Concat(c.Command, c.Args)
		file := findFlagValue(words, "--config")
		if file == "" || !slices.Contains(words, "run") {
			continue
		}
		for _, m := range c.VolumeMounts {
			name := findMountedName(m, path.Clean(file))
			for _, v := range pod.Volumes {
				if name != "" && v.Name == m.Name && v.ConfigMap != nil {
					return dashboard.Calendar{ConfigMap: v.ConfigMap.Name, Key: findConfigMapKey(v.ConfigMap.Items, name)}, true
				}
			}
		}
	}
	return dashboard.Calendar{}, false
}

// findMountedName returns the name in its volume of a file in the folder of a mount, or of a file that is mounted alone; else empty.
func findMountedName(m corev1.VolumeMount, file string) string {
	switch mount := path.Clean(m.MountPath); {
	case m.SubPath == "" && mount == path.Dir(file):
		return path.Base(file)
	case m.SubPath != "" && mount == file:
		return path.Clean(m.SubPath)
	}
	return ""
}

// findConfigMapKey returns the key of a file in a volume of a ConfigMap: its name, unless the volume renames its keys.
func findConfigMapKey(items []corev1.KeyToPath, name string) string {
	for _, item := range items {
		if path.Clean(item.Path) == name {
			return item.Key
		}
	}
	return name
}

// findFlagValue returns the value of a flag among the words of a command line; empty without it.
func findFlagValue(words []string, flag string) string {
	for i, word := range words {
		if value, ok := strings.CutPrefix(word, flag+"="); ok {
			return value
		}
		if word == flag && i+1 < len(words) {
			return words[i+1]
		}
	}
	return ""
}

// readCalendar completes the calendar of a ConfigMap.
func (r calendarReader) readCalendar(ctx context.Context, c dashboard.Calendar, now time.Time) dashboard.Calendar {
	schedules, err := r.readSchedules(ctx, c)
	if err != nil {
		c.Error = err.Error()
		return c
	}
	workloads := slices.DeleteFunc(schedule.ListWorkloads(schedules), func(w hold.Workload) bool { return r.namespace != "" && w.Namespace != r.namespace })
	if n := len(workloads); n > maxCalendarWorkloads {
		workloads = workloads[:maxCalendarWorkloads]
		c.Error = fmt.Sprintf("shows the first %d of %d workloads", maxCalendarWorkloads, n)
	}
	for _, w := range schedule.ListCalendar(schedules, workloads, now, calendarSpan, calendarWindows) {
		c.Windows = append(c.Windows, dashboard.CalendarWindow{
			Namespace: w.Workload.Namespace, Workload: strings.ToLower(w.Workload.Kind) + "/" + w.Workload.Name, Schedule: w.Schedule, Window: w.Window,
			MinReplicas: w.MinReplicas, MaxReplicas: w.MaxReplicas, From: w.Since, Until: w.Until, Paused: w.Paused,
		})
	}
	return c
}

func (r calendarReader) readSchedules(ctx context.Context, c dashboard.Calendar) ([]schedule.Schedule, error) {
	found, err := r.client.CoreV1().ConfigMaps(c.Namespace).Get(ctx, c.ConfigMap, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the scaler's configuration: %w", err)
	}
	text, ok := found.Data[c.Key]
	if !ok {
		return nil, fmt.Errorf("the ConfigMap has no key %s; it has %s", c.Key, strings.Join(slices.Sorted(maps.Keys(found.Data)), ", "))
	}
	schedules, err := schedule.LoadCalendar([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s has faults: %w", c.Key, err)
	}
	return schedules, nil
}
