// The command metrics: metrics to scale on, and an autoscaler on one of them.

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/families"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
)

const metricsHelp = `Show the metrics to scale on. With a pod or a workload: the families on the metrics page of the pod, or on those of ten ready
pods of the workload, each with its value and the API metrics that serve it. Without an argument: the metrics that the adapter's rules name, and the families that
the pods of the namespace expose. -o wide adds the help of each family.

-o yaml prints an autoscaler on the metric that most probably shows load, or on --metric. Its target is an example: a load test shows
what one pod can serve.

Values are read over kube-apiserver's proxy, which needs the right to get pods/proxy. The API metrics are those of the rules in force, from
the adapter's list of families; where it lists none, those of the built-in rules.`

func newPluginMetricsCommand(p *pluginProgram) *cobra.Command {
	metric := ""
	cmd := &cobra.Command{
		Use: "metrics [POD | deployment/NAME | statefulset/NAME]", Short: "Show the metrics to scale on", Long: metricsHelp,
		Example: `  kubectl tachometer metrics deployment/web -n shop
  kubectl tachometer metrics deployment/web -n shop --metric orders_per_second -o yaml > hpa.yaml`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: p.completePodsAndWorkloads,
		RunE: func(cmd *cobra.Command, args []string) error { return p.runPluginMetrics(cmd.Context(), args, metric) },
	}
	bindKubectlOutputFlags(p, cmd, "wide", "json", "yaml", "name")
	cmd.Flags().StringVar(&metric, "metric", "", "the `metric` of the autoscaler that -o yaml prints")
	return cmd
}

func (p *pluginProgram) runPluginMetrics(ctx context.Context, args []string, metric string) error {
	if err := p.checkOutputFormat("wide", "json", "yaml", "name"); err != nil {
		return err
	}
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return p.printPluginNamedMetrics(ctx, c)
	}
	workload, pods, err := c.findPluginPods(ctx, args[0])
	if err != nil {
		return err
	}
	report, err := p.readPluginFamilies(ctx, c, workload, pods)
	if err != nil {
		return err
	}
	if workload != nil {
		report.Workload, report.Pods = workload.Ref(), len(pods)
	}
	switch p.output {
	case "yaml":
		return p.printPluginSuggestion(report, workload, metric)
	case "name":
		for i := range report.Families {
			p.printPluginFamilyName(report.Families[i].Name)
		}
		return nil
	}
	if printed, err := p.printAsOutputFormat("FamilyList", report); printed || err != nil {
		return err
	}
	return report.Print(p.out, p.newTableOptionsFromFlags())
}

// readPluginFamilies returns the families of a pod, or of the ready pods of a workload: values from their pages, types and metrics from the
// adapter's list of the workload's pods or of those with the pod's labels. Standard error has the reason of all that is missing.
func (p *pluginProgram) readPluginFamilies(ctx context.Context, c *pluginConnection, workload *inventory.Workload, pods []*corev1.Pod) (*families.PageReport, error) {
	list, unlisted := listPluginPodMetrics(ctx, c, workload, pods[0])
	report, failed := families.ReadWorkload(ctx, c.reader, pods)
	var unread error // of all pages
	if report == nil {
		unread, failed = failed[0], nil
	}
	for _, err := range failed {
		fmt.Fprintln(p.errs, "could not "+plaintext.Clean(err.Error()))
	}
	switch {
	case unread != nil && unlisted != nil && !errors.Is(unlisted, records.ErrNotServed):
		return nil, fmt.Errorf("%w; and of the adapter's list: %w", unread, unlisted)
	case unread != nil && (unlisted != nil || !slices.ContainsFunc(list.Items, func(m explainapi.Metric) bool { return m.IsFamily() })):
		return nil, unread
	case unread != nil:
		report = &families.PageReport{Namespace: pods[0].Namespace, Families: []families.Family{}}
		fmt.Fprintf(p.errs, "no values: %s\n", plaintext.Clean(unread.Error()))
	case unlisted != nil:
		fmt.Fprintf(p.errs, "could not list the families by the rules in force: %s\n", plaintext.Clean(unlisted.Error()))
		return report, nil
	}
	p.printPluginListGaps(list)
	report.AddListed(list)
	return report, nil
}

// listPluginPodMetrics reads the adapter's list of a workload's pods, or else of a pod.
func listPluginPodMetrics(ctx context.Context, c *pluginConnection, workload *inventory.Workload, pod *corev1.Pod) (*explainapi.MetricList, error) {
	selector := labels.SelectorFromSet(pod.Labels)
	if workload != nil {
		selector = workload.PodSelector()
	}
	if selector.Empty() {
		return nil, fmt.Errorf("the adapter selects pods by labels, and pod %s has none", pod.Name)
	}
	return records.ListMetrics(ctx, c.reader, c.namespace, selector.String())
}

// printPluginListGaps prints what the adapter's list lacks to standard error.
func (p *pluginProgram) printPluginListGaps(list *explainapi.MetricList) {
	for _, gap := range families.ListGaps(list) {
		fmt.Fprintln(p.errs, plaintext.Clean(gap))
	}
}

// printPluginSuggestion prints an autoscaler of the workload.
func (p *pluginProgram) printPluginSuggestion(report *families.PageReport, workload *inventory.Workload, metric string) error {
	if workload == nil {
		return usageError{fmt.Errorf("-o yaml needs a workload; write deployment/NAME or statefulset/NAME")}
	}
	hpa, err := report.Suggest(workload.Kind, workload.Name, metric)
	if err != nil {
		return err
	}
	data, err := plaintext.MarshalYAML(hpa)
	if err != nil {
		return err
	}
	if metric != "" && !report.Serves(metric) {
		fmt.Fprintf(p.errs, "no listed family serves %s: check its name\n", plaintext.Clean(metric))
	}
	text, _, _ := strings.Cut(string(data), "status:\n") // an empty status has no information
	fmt.Fprint(p.out, text)
	return nil
}

// findPluginPods returns the pod of an argument, or the ready pods of the workload that it names: at least one.
func (c *pluginConnection) findPluginPods(ctx context.Context, arg string) (*inventory.Workload, []*corev1.Pod, error) {
	kind, name, isWorkload := strings.Cut(arg, "/")
	kind, _, _ = strings.Cut(strings.ToLower(kind), ".") // as kubectl get -o name writes it: deployment.apps
	if !isWorkload {
		kind, name = "pod", arg
	}
	isPod := kind == "po" || kind == "pod" || kind == "pods"
	if isPod && isObjectName(name) {
		pod, err := c.client.CoreV1().Pods(c.namespace).Get(ctx, name, metav1.GetOptions{})
		return nil, []*corev1.Pod{pod}, err
	}
	kinds := map[string]string{
		"deploy": "Deployment", "deployment": "Deployment", "deployments": "Deployment",
		"sts": "StatefulSet", "statefulset": "StatefulSet", "statefulsets": "StatefulSet",
	}
	if kinds[kind] == "" || !isObjectName(name) {
		return nil, nil, usageError{fmt.Errorf("%q names no pod and no workload; write POD, deployment/NAME or statefulset/NAME", arg)}
	}
	objects := inventory.ReadScaled(ctx, c.client, c.namespace)
	for i := range objects.Workloads {
		w := &objects.Workloads[i]
		if w.Kind != kinds[kind] || w.Name != name {
			continue
		}
		if ready := slices.DeleteFunc(objects.PodsOf(w), func(pod *corev1.Pod) bool { return !inventory.IsReady(pod) }); len(ready) > 0 {
			return w, ready, nil
		}
		return nil, nil, cmp.Or(describePluginUnread(objects, "pods"), fmt.Errorf("%s has no ready pod to read a page of", w.Ref()))
	}
	if err := describePluginUnread(objects, strings.ToLower(kinds[kind])+"s"); err != nil {
		return nil, nil, err
	}
	return nil, nil, fmt.Errorf("there is no %s in namespace %s", arg, c.namespace)
}

// describePluginUnread returns why a resource could not be read, or nil.
func describePluginUnread(objects *inventory.Inventory, resource string) error {
	for _, u := range objects.Unread {
		if u.Resource == resource {
			return fmt.Errorf("read %s: %s", u.Resource, u.Reason)
		}
	}
	return nil
}

// emptyDocumentNames fill the adapter's discovery documents where it has no metric: an empty document would count as a broken one.
var emptyDocumentNames = map[string]bool{"no_metric_is_demanded_yet": true, "no_external_rule_is_configured": true}

// printPluginNamedMetrics prints the metrics that discovery lists.
func (p *pluginProgram) printPluginNamedMetrics(ctx context.Context, c *pluginConnection) error {
	metrics, failed := []namedMetric{}, 0
	paths := []string{"/apis/" + reading.CustomGroup + "/" + reading.CustomVersion, "/apis/" + reading.ExternalGroup + "/v1beta1"}
	for _, root := range paths {
		data, err := c.reader.Read(ctx, root)
		var list metav1.APIResourceList
		if err == nil {
			err = json.Unmarshal(data, &list)
		}
		if err != nil {
			fmt.Fprintf(p.errs, "could not read %s: %s\n", root, plaintext.Clean(err.Error()))
			failed++
			continue
		}
		for _, r := range list.APIResources {
			if emptyDocumentNames[path.Base(r.Name)] {
				continue
			}
			m := namedMetric{Metric: r.Name, API: list.GroupVersion}
			if of, metric, isObject := strings.Cut(r.Name, "/"); isObject {
				m.Of, m.Metric = of, metric
			}
			metrics = append(metrics, m)
		}
	}
	if failed == len(paths) {
		return errFound // standard error has the reasons
	}
	list := p.listPluginExposedMetrics(ctx, c)
	if p.output == "name" {
		p.printPluginMetricNames(metrics, list)
		return nil
	}
	object := map[string]any{"items": metrics}
	if list != nil {
		object["families"], object["pages"] = list.Items, list.Pages
	}
	if printed, err := p.printAsOutputFormat("MetricList", object); printed || err != nil {
		return err
	}
	table := output.Table{Header: []string{"METRIC", "OF", "API"}}
	for _, m := range metrics {
		table.Add(m.Metric, cmp.Or(m.Of, "<external>"), m.API)
	}
	if err := table.Print(p.out, p.newTableOptionsFromFlags()); err != nil || list == nil {
		return err
	}
	fmt.Fprintln(p.out)
	return families.PrintListed(p.out, list, p.newTableOptionsFromFlags())
}

// printPluginMetricNames prints metrics as kubectl api-resources -o name does, and families as kubectl get -o name.
func (p *pluginProgram) printPluginMetricNames(metrics []namedMetric, list *explainapi.MetricList) {
	for _, m := range metrics {
		group, _, _ := strings.Cut(m.API, "/")
		fmt.Fprintln(p.out, plaintext.Clean(path.Join(m.Of, m.Metric)+"."+group))
	}
	if list == nil {
		return
	}
	for i := range list.Items {
		p.printPluginFamilyName(list.Items[i].Name)
	}
}

func (p *pluginProgram) printPluginFamilyName(name string) {
	fmt.Fprintln(p.out, "metric."+explainapi.GroupVersion.Group+"/"+plaintext.Clean(name))
}

// listPluginExposedMetrics returns the families of the namespace's pods; nil for all namespaces, and where the adapter does not list them,
// for which standard error has the reason.
func (p *pluginProgram) listPluginExposedMetrics(ctx context.Context, c *pluginConnection) *explainapi.MetricList {
	if c.namespace == "" {
		return nil
	}
	list, err := records.ListMetrics(ctx, c.reader, c.namespace, "")
	if err != nil {
		fmt.Fprintf(p.errs, "could not list the families of the pods: %s\n", plaintext.Clean(err.Error()))
		return nil
	}
	p.printPluginListGaps(list)
	return list
}

// namedMetric is a metric that discovery lists, and the resource that it is of; empty for an external metric.
type namedMetric struct {
	Metric string `json:"metric"`
	Of     string `json:"of,omitempty"`
	API    string `json:"api"`
}
