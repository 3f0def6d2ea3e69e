package kube

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"
	externalmetrics "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// TestHugeExponents: a value of a few bytes that takes the memory of all its digits is an error. Every value that a server means is read.
func TestHugeExponents(t *testing.T) {
	t.Parallel()
	key, value := `"value"`, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"items":[{"value":"1"},{"metricLabels":{"value":"1e1234567"},` + key + `:` + value + `}]}`))
	}))
	defer server.Close()
	client, err := NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for text, isHuge := range map[string]bool{
		`"1e-100000"`: true, `"-1.5E+100000"`: true, `1e-0100000`: true, `"123456789012345678901e100000"`: true,
		`"1e18"`: false, `"1500m"`: false, `"1e-9"`: false, `12345678901`: false, `"1e-9999"`: false, `"9999999999n"`: false, `"1E"`: false,
	} {
		value = text
		var list externalmetrics.ExternalMetricValueList
		err := GetMetricList(t.Context(), client.CoreV1().RESTClient(), externalmetrics.SchemeGroupVersion, []string{"namespaces", "shop", "orders"}, nil, &list)
		if errors.Is(err, hpa.ErrHugeExponent) != isHuge || (err == nil) == isHuge {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, key = range []string{`"Value"`, `"v\u0061lue"`} {
		value = `"1e-100000"`
		var list externalmetrics.ExternalMetricValueList
		err := GetMetricList(t.Context(), client.CoreV1().RESTClient(), externalmetrics.SchemeGroupVersion, []string{"namespaces", "shop", "orders"}, nil, &list)
		if !errors.Is(err, hpa.ErrHugeExponent) {
			t.Errorf("the key %s: %v", key, err)
		}
	}
}
