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

// podsPath returns the path of a metric on the pods of a label selector, with a metric selector; both selectors may be empty.
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

// raw returns the response to a path, like `kubectl get --raw`, or the API server's own message.
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
	rejection := &apierrors.StatusError{}
	if err := json.Unmarshal(body, &rejection.ErrStatus); err != nil || rejection.ErrStatus.Code == 0 {
		return nil, fmt.Errorf("GET %s: %s: %.200s", path, response.Status, body)
	}
	return nil, rejection
}

// values reads a path of custom.metrics.k8s.io and returns the values by object.
func (c *caller) values(ctx context.Context, path string) (map[string]float64, error) {
	found, _, err := c.valuesSince(ctx, path, "")
	return found, err
}

// valuesSince reads a path of custom.metrics.k8s.io and returns the values by object, and the earliest time at which an object's window may
// have begun: the API rounds it to seconds.
func (c *caller) valuesSince(ctx context.Context, path, object string) (found map[string]float64, begin time.Time, err error) {
	data, err := c.raw(ctx, path)
	if err != nil {
		return nil, begin, err
	}
	return parse(data, object)
}

// parse returns the values of an answer as valuesSince does.
func parse(data []byte, object string) (found map[string]float64, begin time.Time, err error) {
	var list custom.MetricValueList
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, begin, fmt.Errorf("parse an answer: %w", err)
	}
	found = map[string]float64{}
	for _, item := range list.Items {
		found[item.DescribedObject.Name] = item.Value.AsApproximateFloat64()
		if item.DescribedObject.Name == object && item.WindowSeconds != nil {
			begin = item.Timestamp.Add(-time.Duration(*item.WindowSeconds+1) * time.Second)
		}
	}
	return found, begin, nil
}

// Tolerances for a rate. A counter's rate is exact except for the time between a sample's timestamp and the computation of the page:
// milliseconds on an idle machine, more on a busy machine, over a window of at least 1.5 s.
const (
	close5 = 0.05    // must be reached
	never  = 1. / 3. // must never be exceeded: a wrong number is half or double, or another pod's
)

// agree returns an error unless found equals want within the tolerance.
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

// rejected returns an error unless err is a status of the code, with all words in its message.
func rejected(err error, code int32, words ...string) error {
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
