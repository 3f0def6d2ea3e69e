package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pagePort is the port of the pods' pages.
const pagePort = 9102

// addresses counts the assigned pod addresses.
var addresses atomic.Int64

// podIP returns a pod address of this machine's loopback, by its number.
func podIP(number int64) string {
	return fmt.Sprintf("127.77.%d.%d", number/250%250, number%250+1)
}

// counter is a service's counter under a load of known rate, without real requests: each read computes the count.
type counter struct {
	mu    sync.Mutex // guards the fields below
	total float64    // at since
	since time.Time
	rate  float64 // per second
}

func newCounter(rate float64) *counter { return &counter{since: time.Now(), rate: rate} }

func (c *counter) set(rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.total, c.since, c.rate = c.total+c.rate*now.Sub(c.since).Seconds(), now, rate
}

// read returns the count now, a whole number like every count.
func (c *counter) read() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.total + c.rate*time.Since(c.since).Seconds())
}

// ServeHTTP writes a page with the request counter only.
func (c *counter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\"} %d\n", c.read())
}

// page is a pod's web server on its own address.
type page struct {
	ip     string
	server *http.Server
	ended  chan struct{}
}

// serve serves handler on the next free address.
func serve(handler http.Handler) (*page, error) {
	for range 1000 {
		ip := podIP(addresses.Add(1))
		listener, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(pagePort)))
		if err != nil {
			continue // another run of these tests uses it
		}
		mux := http.NewServeMux()
		mux.Handle("/metrics", handler)
		mux.HandleFunc("/work", func(http.ResponseWriter, *http.Request) {}) // what a verification asks
		p := &page{ip: ip, server: &http.Server{Handler: mux}, ended: make(chan struct{})}
		go func() { _ = p.server.Serve(listener); close(p.ended) }()
		return p, nil
	}
	return nil, errors.New("no address for a page")
}

func (p *page) close() {
	_ = p.server.Close()
	<-p.ended
}

func podSpec() corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{
		Name: "service", Image: "none", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: pagePort}},
	}}}
}

// newPod creates a running, ready pod with the scrape annotation and the given page.
func newPod(t *testing.T, namespace, name string, labels map[string]string, handler http.Handler) {
	t.Helper()
	began := time.Now() // the handler counts from now on
	p, err := serve(handler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	made, err := client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: map[string]string{"prometheus.io/scrape": "true"}},
		Spec:       podSpec(),
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the adapter would scrape a remaining pod on and on
		_ = client.CoreV1().Pods(namespace).Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	if err := markRunning(t.Context(), made, p.ip, began); err != nil {
		t.Fatal(err)
	}
}

// markRunning writes the pod's status as a kubelet would.
func markRunning(ctx context.Context, pod *corev1.Pod, ip string, began time.Time) error {
	now := metav1.NewTime(began)
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, StartTime: &now,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now}},
	}
	_, err := client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("write the status of pod %s: %w", pod.Name, err)
	}
	return nil
}

// kubelet runs all pods of a namespace, and spreads a load evenly over the running pods: requests with code 200 that do not belong to
// the canary.
type kubelet struct {
	namespace string
	load      atomic.Int64 // requests per second in all

	mu    sync.Mutex // guards pages and counts
	pages map[string]*page
	count map[string]*counter
}

// newKubelet runs a kubelet until the test ends.
func newKubelet(t *testing.T, namespace string) *kubelet {
	t.Helper()
	k := &kubelet{namespace: namespace, pages: map[string]*page{}, count: map[string]*counter{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); k.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		for _, p := range k.pages {
			p.close()
		}
	})
	return k
}

func (k *kubelet) run(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.look(ctx)
		}
	}
}

// look starts and ends pages as the pods come and go. The next look repeats an error.
func (k *kubelet) look(ctx context.Context) {
	list, err := client.CoreV1().Pods(k.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	alive := map[string]bool{}
	for i := range list.Items {
		pod := &list.Items[i]
		alive[pod.Name] = true
		if k.pages[pod.Name] != nil {
			continue
		}
		c := newCounter(0)
		p, err := serve(mixed(c))
		if err != nil {
			continue
		}
		if err := markRunning(ctx, pod, p.ip, time.Now()); err != nil {
			p.close()
			continue
		}
		k.pages[pod.Name], k.count[pod.Name] = p, c
	}
	for name, p := range k.pages {
		if !alive[name] {
			p.close()
			delete(k.pages, name)
			delete(k.count, name)
		}
	}
	for _, c := range k.count {
		c.set(float64(k.load.Load()) / float64(len(k.count)))
	}
}

// mixed returns the page of a service with counted requests, and with other requests that must not count.
func mixed(c *counter) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c.ServeHTTP(w, r)
		fmt.Fprintf(w, "http_requests_total{code=\"503\"} %d\n", 2*c.read())
		fmt.Fprintf(w, "http_requests_total{code=\"200\",canary=\"yes\"} %d\n", 3*c.read())
		fmt.Fprintf(w, "http_requests_total %d\n", 4*c.read())
	}
}

// running returns the number of running pods.
func (k *kubelet) running() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.pages)
}
