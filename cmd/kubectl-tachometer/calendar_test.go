package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/dashboard"
)

const (
	allDeployments    = "/apis/apps/v1/deployments"
	scalerDeployments = "/apis/apps/v1/namespaces/tachometer/deployments"
	scalerConfigMap   = "/api/v1/namespaces/tachometer/configmaps/tachometer-scaler-config"
)

const calendarConfig = `apiVersion: config.tachometer.dev/v1alpha1
kind: ScalerConfig
schedules:
- name: office
  namespace: shop
  workloads: [deploy/web]
  windows: [{name: day, start: "08:00", end: "22:00", minReplicas: 8}]
- name: pay
  namespace: bank
  workloads: [statefulset/ledger]
  paused: true
  windows: [{from: 2026-11-30 08:00, to: 2026-11-30 20:00, minReplicas: 5, maxReplicas: 9}]
`

// newProgram returns a Deployment whose pods run a program with a configuration from a ConfigMap.
func newProgram(name string, args ...string) appsv1.Deployment {
	return appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tachometer", Name: name},
		Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "main", Args: args, VolumeMounts: []corev1.VolumeMount{{Name: "secrets", MountPath: "/etc/secrets"}, {Name: "config", MountPath: "/etc/tachometer/"}}}},
			Volumes: []corev1.Volume{
				{Name: "secrets"},
				{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name + "-config"}}}},
			},
		}}},
	}
}

func newDeploymentList(items ...appsv1.Deployment) appsv1.DeploymentList {
	return appsv1.DeploymentList{TypeMeta: metav1.TypeMeta{Kind: "DeploymentList", APIVersion: "apps/v1"}, Items: items}
}

func newConfigMap(data map[string]string) corev1.ConfigMap {
	return corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Namespace: "tachometer", Name: "tachometer-scaler-config"}, Data: data}
}

// readTestCalendars reads the calendars of a cluster for a user in a namespace.
func readTestCalendars(t *testing.T, cluster *apiServer, namespace string) ([]dashboard.Calendar, error) {
	t.Helper()
	p := &pluginProgram{kubeconfig: os.DevNull}
	p.overrides.ClusterInfo.Server = cluster.url
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		t.Fatal(err)
	}
	return calendarReader{c.client, namespace}.ReadCalendars(t.Context(), time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
}

// TestCalendar: the windows come from the ConfigMap of the scaler, found by its Deployment: with rights everywhere, or in its namespace alone.
func TestCalendar(t *testing.T) {
	t.Parallel()
	cluster := newAPIServer(t)
	list := newDeploymentList(newProgram("tachometer-adapter", "--config=/etc/tachometer/config.yaml"), newProgram("tachometer-scaler", "run", "--config=/etc/tachometer/config.yaml"))
	cluster.answers[scalerDeployments] = list
	cluster.answers[scalerConfigMap] = newConfigMap(map[string]string{"config.yaml": calendarConfig})
	day := func(n int) dashboard.CalendarWindow {
		from := time.Date(2026, 11, n, 8, 0, 0, 0, time.UTC)
		return dashboard.CalendarWindow{Namespace: "shop", Workload: "deployment/web", Schedule: "office", Window: "day", MinReplicas: 8, From: from, Until: from.Add(14 * time.Hour)}
	}
	ledger := day(30)
	ledger.Namespace, ledger.Workload, ledger.Schedule, ledger.Window = "bank", "statefulset/ledger", "pay", "2026-11-30 08:00 to 2026-11-30 20:00"
	ledger.MinReplicas, ledger.MaxReplicas, ledger.Until, ledger.Paused = 5, 9, ledger.From.Add(12*time.Hour), true
	for namespace, want := range map[string][]dashboard.CalendarWindow{"shop": {day(29), day(30), day(31)}, "": {day(29), day(30), ledger, day(31)}, "other": nil} {
		got, err := readTestCalendars(t, cluster, namespace)
		wanted := []dashboard.Calendar{{Namespace: "tachometer", ConfigMap: "tachometer-scaler-config", Key: "config.yaml", Windows: want}}
		if diff := cmp.Diff(wanted, got); err != nil || diff != "" {
			t.Errorf("namespace %q: %v (-want +got):\n%s", namespace, err, diff)
		}
	}
	adapterAlone := newDeploymentList(list.Items[0])
	for place, want := range map[string]string{scalerDeployments: "namespace tachometer (you may not list Deployments of all namespaces)", allDeployments: "the cluster"} {
		cluster := newAPIServer(t)
		cluster.answers[place] = adapterAlone
		want = "no Deployment with the label app.kubernetes.io/part-of=tachometer in " + want + " runs the scaler with a ConfigMap"
		if got, err := readTestCalendars(t, cluster, "shop"); err == nil || err.Error() != want {
			t.Errorf("without a scaler: %v, %v, want %s", got, err, want)
		}
	}
}

// TestScalerConfigMap: the key is found in a folder, in a volume that renames keys, and behind a file that is mounted alone.
func TestScalerConfigMap(t *testing.T) {
	t.Parallel()
	renamed := []corev1.KeyToPath{{Key: "b", Path: "b"}, {Key: "scaler", Path: "config.yaml"}}
	for name, tc := range map[string]struct {
		file  string
		mount corev1.VolumeMount
		items []corev1.KeyToPath
		want  string
	}{
		"a folder":                {"/etc/tachometer//config.yaml", corev1.VolumeMount{MountPath: "/etc/tachometer/"}, nil, "config.yaml"},
		"renamed keys":            {"/etc/tachometer/config.yaml", corev1.VolumeMount{MountPath: "/etc/tachometer"}, renamed, "scaler"},
		"a file":                  {"/scaler.yaml", corev1.VolumeMount{MountPath: "/scaler.yaml", SubPath: "config.yaml"}, nil, "config.yaml"},
		"a file of a renamed key": {"/scaler.yaml", corev1.VolumeMount{MountPath: "/scaler.yaml", SubPath: "config.yaml"}, renamed, "scaler"},
		"another folder":          {"/etc/tachometer/config.yaml", corev1.VolumeMount{MountPath: "/etc"}, nil, ""},
		"another file":            {"/scaler.yaml", corev1.VolumeMount{MountPath: "/", SubPath: "config.yaml"}, nil, ""},
	} {
		pod := newProgram("tachometer-scaler", "run", "--config="+tc.file).Spec.Template.Spec
		tc.mount.Name = "config"
		pod.Containers[0].VolumeMounts, pod.Volumes[1].ConfigMap.Items = []corev1.VolumeMount{tc.mount}, tc.items
		if got, found := findScalerConfigMap(&pod); got.Key != tc.want || found != (tc.want != "") {
			t.Errorf("%s: key %q, want %q", name, got.Key, tc.want)
		}
	}
}

// TestCalendarFaults: what cannot be read, or is faulty, is said with its name.
func TestCalendarFaults(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range maxCalendarWorkloads + 50 {
		fmt.Fprintf(&many, ", deploy/web-%d", i)
	}
	for name, tc := range map[string]struct {
		data map[string]string
		want string
	}{
		"no right to the ConfigMap": {nil, "read the scaler's configuration: forbidden: " + scalerConfigMap},
		"another key":               {map[string]string{"scaler.yaml": calendarConfig, "b": ""}, "the ConfigMap has no key config.yaml; it has b, scaler.yaml"},
		"a faulty schedule":         {map[string]string{"config.yaml": strings.Replace(calendarConfig, "minReplicas: 8", "minReplicas: x", 1)}, "config.yaml has faults: line 7: schedules[0].windows[0].minReplicas: "},
		"many workloads":            {map[string]string{"config.yaml": strings.Replace(calendarConfig, "deploy/web", "deploy/web"+many.String(), 1)}, "shows the first 200 of 252 workloads"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := newAPIServer(t)
			cluster.answers[allDeployments] = newDeploymentList(newProgram("tachometer-scaler", "run", "--config", "/etc/tachometer/config.yaml"))
			if tc.data != nil {
				cluster.answers[scalerConfigMap] = newConfigMap(tc.data)
			}
			got, err := readTestCalendars(t, cluster, "")
			if err != nil || len(got) != 1 || !strings.HasPrefix(got[0].Error, tc.want) {
				t.Fatalf("%v, %+v; want %s", err, got, tc.want)
			}
			if n := len(got[0].Windows); n > calendarWindows*maxCalendarWorkloads {
				t.Errorf("%d windows", n)
			}
		})
	}
	if _, err := readTestCalendars(t, newAPIServer(t), ""); err == nil || err.Error() != "find the scaler: forbidden: "+scalerDeployments {
		t.Errorf("without any right: %v", err)
	}
}
