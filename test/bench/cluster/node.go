// The cluster with a node: the adapter, the sample service and its autoscalers on it.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// shipped is the folder of our manifests for the adapter.
const shipped = "manifests/adapter"

// isShippedAdapter reports whether the folder, absolute or relative to the repository, is shipped.
func isShippedAdapter(folder string) bool { return strings.HasSuffix("/"+folder, "/"+shipped) }

// sample is the name of the sample's Deployment, and of its shipped autoscaler.
const sample = "sample"

// node is a cluster with a node that runs an adapter and the sample service.
type node struct {
	stack   *stack.Stack
	version string // of Kubernetes
	path    string // of the pods' metric
	shipped autoscaling.HorizontalPodAutoscaler
	out     io.Writer
}

// newBenchNode starts a cluster with a node. After a failure it ends the cluster.
func newBenchNode(ctx context.Context, s settings, out io.Writer) (*node, error) {
	st, err := stack.Up(ctx, stack.Options{Name: "bench", Log: out})
	if err != nil {
		return nil, err
	}
	n := &node{stack: st, out: out}
	if err := n.installOnNode(ctx, s); err != nil {
		n.dumpNode(ctx)
		return nil, errors.Join(err, st.Down(context.WithoutCancel(ctx)))
	}
	return n, nil
}

func (n *node) installOnNode(ctx context.Context, s settings) error {
	for _, archive := range strings.FieldsFunc(s.images, func(r rune) bool { return r == ',' }) {
		if err := n.stack.Cluster.LoadImage(ctx, archive); err != nil {
			return fmt.Errorf("load image %s: %w", archive, err)
		}
	}
	version, err := n.stack.Client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("ask for the version of Kubernetes: %w", err)
	}
	n.version = "Kubernetes " + version.GitVersion
	fmt.Fprintf(n.out, "kubectl apply -k %s\n", s.adapter)
	if err := n.stack.InstallAdapter(ctx, s.adapter); err != nil {
		return err
	}
	if err := n.stack.Apply(ctx, "manifests/sample/overlays/hpa-requests"); err != nil {
		return err
	}
	if err := n.takeShippedAutoscaler(ctx, s.metric); err != nil {
		return err
	}
	return n.findMetricAPI(ctx, s.metric)
}

// takeShippedAutoscaler removes the sample's shipped autoscaler, and keeps it as a template.
func (n *node) takeShippedAutoscaler(ctx context.Context, metric string) error {
	hpas := n.stack.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace)
	hpa, err := hpas.Get(ctx, sample, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the shipped autoscaler: %w", err)
	}
	n.shipped = *hpa
	n.shipped.Spec.Metrics[0].Pods.Metric.Name = metric
	return n.removeAutoscalers(ctx)
}

func (n *node) removeAutoscalers(ctx context.Context) error {
	err := n.stack.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace).
		DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("remove autoscalers: %w", err)
	}
	return nil
}

// addAutoscaler adds a copy of the shipped autoscaler. Its name must be new, because the controller remembers its recommendations by
// name.
func (n *node) addAutoscaler(ctx context.Context, name string, change func(*autoscaling.HorizontalPodAutoscaler)) error {
	hpa := &autoscaling.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *n.shipped.Spec.DeepCopy()}
	change(hpa)
	_, err := n.stack.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace).Create(ctx, hpa, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create autoscaler %s: %w", name, err)
	}
	return nil
}

// findMetricAPI finds the version of custom.metrics.k8s.io that the API server prefers: adapters differ.
func (n *node) findMetricAPI(ctx context.Context, metric string) error {
	data, err := n.stack.Get(ctx, "/apis/custom.metrics.k8s.io")
	if err != nil {
		return fmt.Errorf("find custom.metrics.k8s.io: %w", err)
	}
	var group metav1.APIGroup
	if err := json.Unmarshal(data, &group); err != nil {
		return fmt.Errorf("find custom.metrics.k8s.io: %w", err)
	}
	n.path = strings.Replace(stack.PodsMetric(metric), stack.CustomMetrics, "/apis/"+group.PreferredVersion.GroupVersion, 1)
	return nil
}

// scaleSampleService sets the number of the sample's pods, and waits until all are ready and all others gone.
func (n *node) scaleSampleService(ctx context.Context, replicas int) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, err := n.stack.Client.AppsV1().Deployments(stack.SampleNamespace).
		Patch(ctx, sample, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("scale the sample: %w", err)
	}
	return stack.Wait(ctx, 2*time.Minute, func(ctx context.Context) error {
		list, err := n.listSamplePods(ctx)
		if err != nil {
			return err
		}
		ready, err := n.stack.ReadyPods(ctx)
		if err == nil && (len(ready) != replicas || len(list) != replicas) {
			err = fmt.Errorf("%d pods of the sample are ready of %d, want %d", len(ready), len(list), replicas)
		}
		return err
	})
}

func (n *node) listSamplePods(ctx context.Context) ([]core.Pod, error) {
	list, err := n.stack.Client.CoreV1().Pods(stack.SampleNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the sample's pods: %w", err)
	}
	return list.Items, nil
}

// readySampleURLs returns the URLs of the ready pods.
func (n *node) readySampleURLs(ctx context.Context) ([]string, error) {
	pods, err := n.stack.ReadyPods(ctx)
	if err != nil {
		return nil, err
	}
	urls := make([]string, len(pods))
	for i := range pods {
		urls[i] = fmt.Sprintf("http://%s:8080/", pods[i].Status.PodIP)
	}
	return urls, nil
}

// sumSampleMetric returns the sum of the metric over the pods, and their number, as `kubectl get --raw` shows them.
func (n *node) sumSampleMetric(ctx context.Context) (sum float64, pods int, err error) {
	values, err := n.stack.Custom(ctx, n.path)
	for _, v := range values {
		sum += v.Value.AsApproximateFloat64()
	}
	return sum, len(values), err
}

// dumpNode prints the state of the node, unless the user has ended the run.
func (n *node) dumpNode(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	for _, args := range [][]string{
		{"get", "pods,hpa,apiservices", "-A", "-o", "wide"},
		{"-n", stack.SampleNamespace, "describe", "hpa"},
	} {
		out, err := n.stack.Kubectl(ctx, args...)
		fmt.Fprintf(n.out, "--- kubectl %v (%v)\n%s\n", args, err, out)
	}
}
