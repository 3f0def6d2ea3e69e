package attack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

// oddRequests are requests of a reader for what these APIs do not have, or with more than they need, and what they get.
var oddRequests = map[string]struct {
	method, path string
	header       map[string]string
	body         io.Reader
	want         []int
}{
	"watch of pods' metrics":         {http.MethodGet, podsPath("shop", goodMetric, "app=web") + "&watch=1&timeoutSeconds=3600", nil, nil, []int{200}},
	"watch of an external metric":    {http.MethodGet, "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/none?watch=true", nil, nil, []int{405}},
	"watch of targets":               {http.MethodGet, "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/targets?watch=1&timeoutSeconds=3600", nil, nil, []int{200, 405}},
	"watch by path":                  {http.MethodGet, "/apis/explain.tachometer.dev/v1alpha1/watch/namespaces/shop/targets", nil, nil, []int{404, 405}},
	"targets by a selector":          {http.MethodGet, "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/targets?labelSelector=a", nil, nil, []int{400}},
	"decisions of a century":         {http.MethodGet, "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers/web/decisions?since=876000h", nil, nil, []int{200}},
	"decisions of a negative time":   {http.MethodGet, "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers/web/decisions?since=-1h", nil, nil, []int{400}},
	"another version":                {http.MethodGet, "/apis/custom.metrics.k8s.io/v9/namespaces/shop/pods/*/x", nil, nil, []int{404}},
	"proxy of a pod":                 {http.MethodGet, "/api/v1/namespaces/shop/pods/web-0/proxy/metrics", nil, nil, []int{404}},
	"a path with dots":               {http.MethodGet, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/../../../../metrics", nil, nil, []int{301, 307, 404}},
	"an escaped slash":               {http.MethodGet, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/a%2F..%2Fb", nil, nil, []int{400, 404}},
	"a metric with a null and codes": {http.MethodGet, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/" + url.PathEscape("a\x00\x1b[2J"), nil, nil, []int{400, 404, 503}},
	"sets within sets":               {http.MethodGet, podsPath("shop", goodMetric, "a in "+strings.Repeat("(", 500)), nil, nil, []int{400}},
	"pods by 1,000 requirements":     {http.MethodGet, podsPath("shop", goodMetric, newManyRequirements(1000)), nil, nil, []int{400}},
	"series by 1,000 requirements":   {http.MethodGet, podsPath("shop", goodMetric, "app=web") + "&metricLabelSelector=" + url.QueryEscape(newManyRequirements(1000)), nil, nil, []int{400}},
	"external, 1,000 requirements":   {http.MethodGet, "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/none?labelSelector=" + url.QueryEscape(newManyRequirements(1000)), nil, nil, []int{400}},
	"a parameter in other letters":   {http.MethodGet, podsPath("shop", goodMetric, "app=web") + "&metric%4CabelSelector=" + url.QueryEscape(newManyRequirements(1000)), nil, nil, []int{400}},
	"a resource of 2 KB":             {http.MethodGet, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/" + strings.Repeat("r", 3000) + "/x/y", nil, nil, []int{414}},
	"thousands of accepted types":    {http.MethodGet, "/apis", map[string]string{"Accept": strings.Repeat("a/b;q=0.1,", 3500)}, nil, []int{431}},
	"a WebSocket":                    {http.MethodGet, "/apis", map[string]string{"Sec-Websocket-Key": "x", "Sec-Websocket-Version": "13"}, nil, []int{200}},
	"another user":                   {http.MethodGet, "/apis", map[string]string{"Impersonate-User": "system:admin"}, nil, []int{200, 403}},
	"a method of 9 KB":               {strings.Repeat("GET", 3000), "/apis", nil, nil, []int{405}},
	"CONNECT":                        {http.MethodConnect, "/apis", nil, nil, []int{400, 404, 405}},
	"tricks of Accept-Encoding":      {http.MethodGet, "/apis", map[string]string{"Accept-Encoding": "gzip;q=0," + strings.Repeat("gzip,", 1000) + "*;q=1"}, nil, []int{200}},
	"a compressed body":              {http.MethodPost, reviewsPath, map[string]string{"Content-Encoding": "gzip", "Content-Type": "application/json"}, bytes.NewReader(rawBomb[:60_000]), []int{400, 413, 415}},
	"a compressed body of a list":    {http.MethodPost, "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/targets", map[string]string{"Content-Encoding": "deflate, gzip"}, bytes.NewReader(rawBomb), []int{404, 405, 413}},
	"a body of chunks without end":   {http.MethodPost, reviewsPath, map[string]string{"Content-Type": "application/json"}, fastBody{}, []int{400, 413}},
	"another media type":             {http.MethodPost, reviewsPath, map[string]string{"Content-Type": "application/vnd.kubernetes.protobuf"}, bytes.NewReader(make([]byte, 60_000)), []int{400, 406, 415}},
	"a large body":                   {http.MethodPost, "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/targets", nil, strings.NewReader(strings.Repeat("x", 4<<20)), []int{404, 405, 413}},
	"a body that never ends":         {http.MethodPost, "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/metrics", nil, slowBody{}, []int{404, 405, 408, 413, 504}},
}

// newManyRequirements returns a selector.
func newManyRequirements(count int) string {
	requirements := make([]string, count)
	for i := range requirements {
		requirements[i] = fmt.Sprintf("k%d!=v", i)
	}
	return strings.Join(requirements, ",")
}

const reviewsPath = "/apis/explain.tachometer.dev/v1alpha1/namespaces/evil/rulereviews"

// fastBody gives blanks for ever.
type fastBody struct{}

// Read implements io.Reader.
func (fastBody) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// slowBody gives a byte every 100 ms, for ever.
type slowBody struct{}

// Read implements io.Reader.
func (slowBody) Read(p []byte) (int, error) {
	time.Sleep(100 * time.Millisecond) //nolint:forbidigo // the attack
	p[0] = ' '
	return 1, nil
}

// TestOddRequests: each has its answer, long before the client gives up, without codes for a terminal, and costs no HPA a read.
func TestOddRequests(t *testing.T) {
	joinShare(t)
	a := startAdapter(t, startShop(t, http.HandlerFunc(evilPage)))
	for name, odd := range oddRequests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, odd.method, a.URL+odd.path, odd.body)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+evilReader)
			for key, value := range odd.header {
				request.Header.Set(key, value)
			}
			response, err := a.client.Transport.RoundTrip(request) // follows no redirect
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
			if !isBusyMachine(response.StatusCode, err) && (err != nil || !slices.Contains(odd.want, response.StatusCode)) {
				t.Errorf("%s: %.300q, %v, want one of %d", response.Status, body, err, odd.want)
			}
			if strings.ContainsAny(string(body), "\x00\x1b") {
				t.Errorf("the answer has codes for a terminal: %.300q", body)
			}
		})
	}
	a.judge()
}

// TestUnreadTargets: readers who list thousands of targets, and read none of the answers, fill no memory.
func TestUnreadTargets(t *testing.T) {
	joinShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	for i := range 3000 {
		pod := kubeapi.NewPod("evil", fmt.Sprintf("%s-%04d", strings.Repeat("long", 50), i), "evil", fmt.Sprintf("127.1.%d.%d:1", i/250, 1+i%250))
		pod.Annotations["prometheus.io/scrape"] = "true"
		kube.SetPod(pod)
	}
	kube.SetAutoscaler(kubeapi.NewAutoscaler("evil", "evil", goodMetric))
	a := startAdapter(t, kube)
	const path = "/apis/explain.tachometer.dev/v1alpha1/namespaces/evil/targets"
	size := 0
	for end := waitEnd(t); size < 500_000; retry.Sleep(t.Context(), time.Second) {
		code, body, err := a.get(t.Context(), evilReader, path)
		size = len(body)
		if !isBusyMachine(code, err) && (err != nil || code != http.StatusOK) || time.Now().After(end) {
			t.Fatalf("%d, %d bytes, %v", code, size, err)
		}
	}
	clients := a.newUnreadClients(8)
	unread, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	for i := range 150 { // as many as the lane has places
		request, err := http.NewRequestWithContext(unread, http.MethodGet, a.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+evilReader)
		go func() {
			if response, err := clients[i%len(clients)].Do(request); err == nil {
				<-unread.Done()
				_ = response.Body.Close()
			}
		}()
	}
	retry.Sleep(t.Context(), attackTime(10*time.Second))
	a.await("an answer to another reader", func() (bool, string) {
		code, body, err := a.get(t.Context(), "another", "/apis/custom.metrics.k8s.io/v1beta2")
		return code == http.StatusOK, fmt.Sprintf("%d %.300s %v", code, body, err)
	})
	t.Logf("%d bytes of each unread answer", size)
	a.judge()
}

// newUnreadClients returns clients of one address each that take 16 KiB of a response before it is read.
func (a *attackedAdapter) newUnreadClients(n byte) (clients []*http.Client) {
	a.Helper()
	for host := range n {
		trust, err := a.NewTLSConfig()
		if err != nil {
			a.Fatal(err)
		}
		client := adapter.NewClient(trust, 2+host)
		if transport, ok := client.Transport.(*http.Transport); ok {
			transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 16 << 10}
		}
		clients = append(clients, client)
	}
	return clients
}

// TestDecisionsOfAccess: a reader of ever new selectors fills no memory with decisions about its access.
func TestDecisionsOfAccess(t *testing.T) {
	joinShare(t)
	a := startAdapter(t, startShop(t, http.HandlerFunc(evilPage)))
	values := make([]string, 900)
	done := flood(t, 20_000, attackTime(20*time.Second), func(ctx context.Context, i int) {
		mine := make([]string, len(values))
		for v := range mine {
			mine[v] = fmt.Sprintf("v%05d%08d", i, v)
		}
		_, _, _ = a.get(ctx, evilReader, "/apis/external.metrics.k8s.io/v1beta1/namespaces/evil/none?labelSelector="+url.QueryEscape("a in ("+strings.Join(mine, ",")+")"))
	})
	t.Logf("%d reads", done)
	a.judge()
}
