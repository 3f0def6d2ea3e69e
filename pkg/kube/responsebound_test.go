package kube

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	externalmetrics "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
)

// TestMetricListsAreBounded: an endless list of values, or an endless error, of another API server takes no more than its bound.
func TestMetricListsAreBounded(t *testing.T) {
	t.Parallel()
	filler := []byte(strings.Repeat(" ", 1<<20))
	sent := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "error") {
			w.WriteHeader(http.StatusBadRequest)
		}
		bytes := 0
		if strings.HasSuffix(r.URL.Path, "short") {
			n, _ := w.Write(filler)
			bytes += n
			_, _ = w.Write([]byte(`{"items":[{}]}`))
		} else {
			for n, err := w.Write(filler); err == nil && bytes < 200<<20; n, err = w.Write(filler) {
				bytes += n
			}
		}
		sent <- bytes
	}))
	defer server.Close()
	client, err := NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"short": 1, "long": 0, "error": 0} {
		var list externalmetrics.ExternalMetricValueList
		err := GetMetricList(t.Context(), client.CoreV1().RESTClient(), externalmetrics.SchemeGroupVersion, []string{"namespaces", "shop", name}, nil, &list)
		if bytes := <-sent; bytes >= 200<<20 || len(list.Items) != want || (err == nil) != (want > 0) {
			t.Errorf("%s: %d values, %v, %d bytes sent", name, len(list.Items), err, bytes)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}
