package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

const requests = "request_per_second"

// podsPath is of a metric of the pods that a label selector and a metric selector, if any, choose.
func podsPath(namespace, metric, selector, metricSelector string) string {
	path := stack.CustomMetrics + "/namespaces/" + namespace + "/pods/*/" + metric
	query := url.Values{}
	if selector != "" {
		query.Set("labelSelector", selector)
	}
	if metricSelector != "" {
		query.Set("metricLabelSelector", metricSelector)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// caller reads the API as one user.
type caller struct {
	http *http.Client
	host string
}

func newCaller(kubeconfig string) (*caller, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.Timeout = 20 * time.Second
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &caller{c, config.Host}, nil
}

// raw is `kubectl get --raw`, and the API server's own words where it refuses.
func (c *caller) raw(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.host+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode == http.StatusOK {
		return body, err
	}
	refusal := &apierrors.StatusError{}
	if err := json.Unmarshal(body, &refusal.ErrStatus); err != nil || refusal.ErrStatus.Code == 0 {
		return nil, fmt.Errorf("GET %s: %s: %.200s", path, response.Status, body)
	}
	return nil, refusal
}

// values reads a path of custom.metrics.k8s.io: the values by object.
func (c *caller) values(ctx context.Context, path string) (map[string]float64, error) {
	data, err := c.raw(ctx, path)
	if err != nil {
		return nil, err
	}
	return parse(data)
}

func parse(data []byte) (map[string]float64, error) {
	var list custom.MetricValueList
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("parse an answer: %w", err)
	}
	found := map[string]float64{}
	for _, item := range list.Items {
		found[item.DescribedObject.Name] = item.Value.AsApproximateFloat64()
	}
	return found, nil
}

// Tolerances for a rate. A counter's rate is exact but for the time between a sample's timestamp and the moment when
// the page was computed: milliseconds on an idle machine, more on a busy one, over a window of 1.5 s at the least.
const (
	close5 = 0.05    // what must be reached
	never  = 1. / 3. // what must never be exceeded: a wrong number is half or double, or that of another pod
)

// agree tells why found is not exactly what is wanted, within the tolerance.
func agree(found, want map[string]float64, tolerance float64) error {
	if len(found) != len(want) {
		return fmt.Errorf("values %v, want %v", found, want)
	}
	for name, w := range want {
		f, ok := found[name]
		if !ok || math.Abs(f-w) > tolerance*w {
			return fmt.Errorf("values %v, want %v within %v", found, want, tolerance)
		}
	}
	return nil
}

// refused tells why err is not a status of that code that holds all the words.
func refused(err error, code int32, words ...string) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return fmt.Errorf("got %w, want status %d", err, code)
	}
	got := status.Status()
	if got.Code != code || slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(got.Message, w) }) {
		return fmt.Errorf("status %d %q, want %d with %q", got.Code, got.Message, code, words)
	}
	return nil
}
