// Package watch reads the number that a gate is watched by: a metric of the metrics APIs, or a PromQL query.
package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalmetrics "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
)

// readTimeout bounds a read: a slow backend is no reason for an old number.
const readTimeout = 5 * time.Second

// These are answers without a number. There may be one later.
var (
	ErrNoValue   = errors.New("has no value")
	ErrNotNumber = errors.New("is not a number: there is no traffic yet, or none to compare with")
)

// maxResponseBytes bounds a response. A watch needs one number; its metric may have a value for each pod.
const maxResponseBytes = 4 << 20

// Reader reads numbers. Its methods may be called concurrently.
type Reader struct {
	// Client reads the metrics APIs through kube-apiserver.
	Client rest.Interface
	// HTTP queries Prometheus and follows no redirect.
	HTTP *http.Client
}

// ReadWatch returns the number of a watch now: of several values the highest. Pods are selected in the namespace.
func (r *Reader) ReadWatch(ctx context.Context, namespace, selector string, w action.Watch) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	switch {
	case w.Query != "":
		return r.queryWatchBackend(ctx, w)
	case w.Of == action.WatchPods:
		return r.readPodsWatch(ctx, namespace, selector, w)
	}
	return r.readExternalWatch(ctx, namespace, w)
}

// readExternalWatch reads an external metric of the namespace.
func (r *Reader) readExternalWatch(ctx context.Context, namespace string, w action.Watch) (float64, error) {
	var list externalmetrics.ExternalMetricValueList
	path := []string{"namespaces", namespace, w.Metric}
	if err := kube.GetMetricList(ctx, r.Client, externalmetrics.SchemeGroupVersion, path, map[string]string{"labelSelector": w.Selector}, &list); err != nil {
		return 0, err
	}
	var values watchValues
	for i := range list.Items {
		values.addMetricValue(list.Items[i].Value, list.Items[i].Timestamp)
	}
	return values.highestMetricValue(w)
}

// readPodsWatch reads a metric of pods.
func (r *Reader) readPodsWatch(ctx context.Context, namespace, selector string, w action.Watch) (float64, error) {
	if selector == "" {
		return 0, fmt.Errorf("metric %s: the scale of the workload has no selector, so its pods are not known", w.Metric)
	}
	var list custommetrics.MetricValueList
	path := []string{"namespaces", namespace, "pods", "*", w.Metric}
	if err := kube.GetMetricList(ctx, r.Client, custommetrics.SchemeGroupVersion, path, map[string]string{"labelSelector": selector, "metricLabelSelector": w.Selector}, &list); err != nil {
		return 0, err
	}
	var values watchValues
	for i := range list.Items {
		values.addMetricValue(list.Items[i].Value, list.Items[i].Timestamp)
	}
	return values.highestMetricValue(w)
}

// maxValueAge is the age from which on a value says nothing about the open gate. Some clouds' metrics are a few minutes late.
const maxValueAge = 5 * time.Minute

// watchValues are the values of a metric that are young enough, and the time of the last of the others; zero: there is none.
type watchValues struct {
	young []float64
	last  metav1.Time
}

// addMetricValue adds a value. A value without a time is of now.
func (v *watchValues) addMetricValue(value resource.Quantity, at metav1.Time) {
	switch {
	case at.IsZero() || time.Since(at.Time) <= maxValueAge:
		v.young = append(v.young, value.AsApproximateFloat64())
	case v.last.Before(&at):
		v.last = at
	}
}

// highestMetricValue returns the highest young value of a watch's metric.
func (v *watchValues) highestMetricValue(w action.Watch) (float64, error) {
	if len(v.young) == 0 && !v.last.IsZero() {
		return 0, fmt.Errorf("metric %s %w since %s", w.Metric, ErrNoValue, v.last.UTC().Format(time.RFC3339))
	}
	return highestWatchValue("metric "+w.Metric, v.young)
}

// queryResponse is the response of Prometheus's HTTP API to an instant query.
type queryResponse struct {
	Status   string   `json:"status"`
	Error    string   `json:"error"`
	Warnings []string `json:"warnings"`
	Data     struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
}

// queryWatchBackend asks a Prometheus-compatible server for the value of a query now.
func (r *Reader) queryWatchBackend(ctx context.Context, w action.Watch) (float64, error) {
	address := strings.TrimSuffix(w.Prometheus, "/") + "/api/v1/query?" + url.Values{"query": {w.Query}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, fmt.Errorf("query Prometheus: %w", err)
	}
	response, err := r.HTTP.Do(request)
	if err != nil {
		return 0, fmt.Errorf("query Prometheus: %w", errors.Unwrap(err)) // without the long address
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxResponseBytes))
	if err != nil {
		return 0, fmt.Errorf("query Prometheus: %w", err)
	}
	var answer queryResponse
	if err := json.Unmarshal(data, &answer); err != nil {
		return 0, fmt.Errorf("query Prometheus: status %d, and no response of its API", response.StatusCode)
	}
	switch {
	case answer.Status != "success":
		return 0, fmt.Errorf("query Prometheus: status %d: %s", response.StatusCode, answer.Error)
	case len(answer.Warnings) > 0:
		return 0, fmt.Errorf("query Prometheus: partial response: %s", strings.Join(answer.Warnings, "; "))
	}
	return answer.highestQueryValue()
}

// highestQueryValue returns the value of a scalar, or the highest of a vector.
func (q *queryResponse) highestQueryValue() (float64, error) {
	var scalar []any
	var vector []struct {
		Value []any `json:"value"` // of a number
	}
	var texts []any
	switch {
	case q.Data.ResultType == "scalar" && json.Unmarshal(q.Data.Result, &scalar) == nil && len(scalar) == 2:
		texts = append(texts, scalar[1])
	case q.Data.ResultType == "vector" && json.Unmarshal(q.Data.Result, &vector) == nil:
		for _, v := range vector {
			if len(v.Value) != 2 {
				return 0, errors.New("the query gives a native histogram: write one that gives a number, such as histogram_quantile(0.99, …)")
			}
			texts = append(texts, v.Value[1])
		}
	default:
		return 0, fmt.Errorf("the query gives a %s: write one that gives a number", q.Data.ResultType)
	}
	var values []float64
	for _, t := range texts {
		text, _ := t.(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("the query gives %q, which is no number", text)
		}
		values = append(values, v)
	}
	return highestWatchValue("the query", values)
}

// highestWatchValue returns the highest value. NaN is none: no traffic divided by no traffic gives it.
func highestWatchValue(of string, values []float64) (float64, error) {
	highest, found := math.Inf(-1), false
	for _, v := range values {
		if !math.IsNaN(v) {
			highest, found = max(highest, v), true
		}
	}
	switch {
	case len(values) == 0:
		return 0, fmt.Errorf("%s %w", of, ErrNoValue)
	case !found:
		return 0, fmt.Errorf("%s %w", of, ErrNotNumber)
	}
	return highest, nil
}
