// The adapter as a child process behind a fake kube-apiserver, for attacks on its port.

package attack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	scaling "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	doorNamespace = "shop"
	doorPods      = 20
	doorHPAUser   = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
	doorReadPath  = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + doorNamespace + "/pods/*/request_per_second?labelSelector=app%3Dweb"

	// The memory limit and GOMEMLIMIT of manifests/adapter/deployment.yaml.
	doorMemoryLimit, doorGoMemoryLimit = 512 << 20, "460MiB"
)

// doorWorld is an adapter with a Deployment of 20 pods and its autoscaler.
type doorWorld struct {
	base, authority string // the URL of the adapter, and the file of its certificate
	proxy           tls.Certificate
	child           *exec.Cmd
	ended           chan struct{}
	log             string
	limited         bool         // in a memory cgroup
	reviews         atomic.Int64 // TokenReviews and SubjectAccessReviews
}

func startDoorWorld(t *testing.T) *doorWorld {
	t.Helper()
	w := &doorWorld{ended: make(chan struct{})}
	authority := w.issueDoorFrontProxy(t)
	kube := httptest.NewServer(w.newDoorKube(authority, startDoorPage(t)))
	t.Cleanup(kube.Close)
	t.Cleanup(kube.CloseClientConnections) // the watches
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\n"+
		"contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", kube.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.startDoorAdapter(t, dir, kubeconfig)
	return w
}

// startDoorPage serves the page of every pod, at an address of this machine that may be a pod's.
func startDoorPage(t *testing.T) (address string) {
	t.Helper()
	ip := "127.0.0.1"
	if all, err := net.InterfaceAddrs(); err == nil {
		for _, a := range all {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
				ip = n.IP.String()
				break
			}
		}
	}
	listener, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	page := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# TYPE http_requests_total counter\nhttp_requests_total %f\n", 100*time.Since(begin).Seconds())
	})}
	go func() { _ = page.Serve(listener) }()
	t.Cleanup(func() { _ = page.Close() })
	return listener.Addr().String()
}

func (w *doorWorld) startDoorAdapter(t *testing.T, dir, kubeconfig string) {
	t.Helper()
	program := filepath.Join(dir, "adapter")
	build := exec.Command("go", "build", "-o", program, "./cmd/tachometer-adapter")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the adapter: %v: %s", err, out)
	}
	port := freeDoorPort(t)
	certificate, key := issueDoorCertificate(t, dir)
	w.base, w.authority, w.log = "https://127.0.0.1:"+port, certificate, filepath.Join(dir, "log")
	log, err := os.Create(w.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command := []string{
		program, "--kubeconfig", kubeconfig, "--bind-address", "127.0.0.1", "--secure-port", port,
		"--tls-cert-file", certificate, "--tls-private-key-file", key, "--shutdown-delay-duration", "0s",
	}
	if group := newDoorMemoryGroup(t); group != "" {
		w.limited = true
		command = append([]string{"sh", "-c", `echo $$ > "$0"/cgroup.procs && exec "$@"`, group}, command...)
	} else {
		t.Log("NO MEMORY CGROUP can be made here (root is needed): the adapter runs without its limit")
	}
	w.child = exec.Command(command[0], command[1:]...)
	w.child.Env = append(os.Environ(), "GOMEMLIMIT="+doorGoMemoryLimit)
	w.child.Stdout, w.child.Stderr = log, log
	if err := w.child.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = w.child.Wait(); close(w.ended) }()
	t.Cleanup(func() {
		_ = w.child.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(20*time.Second, func() { _ = w.child.Process.Kill() })
		defer kill.Stop()
		<-w.ended
	})
}

// issueDoorCertificate makes a serving certificate with a key of the kind that the adapter makes, and returns their files.
func issueDoorCertificate(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// newDoorMemoryGroup returns the folder of a memory cgroup with the shipped limit; empty where none can be made.
func newDoorMemoryGroup(t *testing.T) string {
	t.Helper()
	for parent, file := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		group := filepath.Join(parent, fmt.Sprintf("tachometer-doors-%d", os.Getpid()))
		if os.Mkdir(group, 0o755) != nil {
			continue
		}
		if os.WriteFile(filepath.Join(group, file), []byte(strconv.Itoa(doorMemoryLimit)), 0o600) == nil {
			t.Cleanup(func() { _ = os.Remove(group) }) // after the child's end
			return group
		}
		_ = os.Remove(group)
	}
	return ""
}

func freeDoorPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// readDoorPeak returns the greatest resident memory of the adapter since the last call, in MiB.
func (w *doorWorld) readDoorPeak(t *testing.T) int {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", w.child.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatalf("the adapter is gone: %v\n%s", err, w.readDoorLog())
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(proc+"clear_refs", []byte("5"), 0o600)
	return kib >> 10
}

func (w *doorWorld) readDoorLog() string {
	log, _ := os.ReadFile(w.log)
	return string(log[max(0, len(log)-3000):])
}

// newDoorClient returns a client from 127.0.0.host that trusts the adapter's certificate alone.
func newDoorClient(authority string, host int, certificates ...tls.Certificate) (*http.Client, error) {
	text, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", Certificates: certificates}
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, errors.New("the adapter has no certificate yet")
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(host))}, Timeout: 10 * time.Second}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true, MaxConnsPerHost: 20,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
	}}, nil
}

// askDoor sends a request and returns its status; 0 without a response.
func askDoor(ctx context.Context, client *http.Client, url string, header http.Header) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header = header
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", response.Status, body)
	}
	return response.StatusCode, err
}

// issueDoorFrontProxy makes kube-apiserver's client certificate and returns its authority in PEM.
func (w *doorWorld) issueDoorFrontProxy(t *testing.T) (authority string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(template, parent *x509.Certificate) []byte {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		template.BasicConstraintsValid = true
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER := issue(root, root)
	leaf := issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "front-proxy"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, root)
	w.proxy = tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}))
}

func answerDoor(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func doorType(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

// serveDoorList answers a list, and a watch without events.
func serveDoorList(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("sendInitialEvents") != "": // clients then list
			answerDoor(w, http.StatusUnprocessableEntity, metav1.Status{
				TypeMeta: doorType("v1", "Status"), Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity,
			})
		case r.URL.Query().Get("watch") != "":
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			answerDoor(w, http.StatusOK, v)
		}
	}
}

// newDoorKube is a kube-apiserver whose reviews take 5 ms. Tokens that begin with "reader" are of users who may view everything;
// no other token is anybody's.
func (w *doorWorld) newDoorKube(authority, page string) http.Handler {
	mux := http.NewServeMux()
	serveDoorDiscovery(mux)
	serveDoorObjects(mux, page)
	config := core.ConfigMap{
		TypeMeta:   doorType("v1", "ConfigMap"),
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication", ResourceVersion: "1"},
		Data: map[string]string{
			"client-ca-file": authority, "requestheader-client-ca-file": authority,
			"requestheader-username-headers": `["X-Remote-User"]`, "requestheader-group-headers": `["X-Remote-Group"]`,
			"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`, "requestheader-allowed-names": `["front-proxy"]`,
		},
	}
	mux.HandleFunc("GET /api/v1/namespaces/kube-system/configmaps", serveDoorList(core.ConfigMapList{
		TypeMeta: doorType("v1", "ConfigMapList"), ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []core.ConfigMap{config},
	}))
	mux.HandleFunc("GET /api/v1/namespaces/kube-system/configmaps/{name}", func(w http.ResponseWriter, _ *http.Request) { answerDoor(w, http.StatusOK, config) })
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(rw http.ResponseWriter, r *http.Request) {
		w.reviews.Add(1)
		pause(r.Context(), 5*time.Millisecond)
		var review authentication.TokenReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		review.Status = authentication.TokenReviewStatus{
			Authenticated: strings.HasPrefix(review.Spec.Token, "reader"), User: authentication.UserInfo{Username: review.Spec.Token},
		}
		answerDoor(rw, http.StatusCreated, review)
	})
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", func(rw http.ResponseWriter, r *http.Request) {
		w.reviews.Add(1)
		pause(r.Context(), 5*time.Millisecond)
		var review authorization.SubjectAccessReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		user := review.Spec.User
		review.Status = authorization.SubjectAccessReviewStatus{Allowed: user == doorHPAUser || strings.HasPrefix(user, "reader")}
		answerDoor(rw, http.StatusCreated, review)
	})
	return mux
}

func serveDoorDiscovery(mux *http.ServeMux) {
	always := func(path string, v any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { answerDoor(w, http.StatusOK, v) })
	}
	group := func(name, version string) metav1.APIGroup {
		v := metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + version, Version: version}
		return metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}
	}
	resources := func(groupVersion string, all ...metav1.APIResource) metav1.APIResourceList {
		return metav1.APIResourceList{TypeMeta: doorType("v1", "APIResourceList"), GroupVersion: groupVersion, APIResources: all}
	}
	always("/api", metav1.APIVersions{TypeMeta: doorType("v1", "APIVersions"), Versions: []string{"v1"}})
	always("/apis", metav1.APIGroupList{
		TypeMeta: doorType("v1", "APIGroupList"), Groups: []metav1.APIGroup{group("apps", "v1"), group("autoscaling", "v2")},
	})
	always("/api/v1", resources("v1", metav1.APIResource{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true}))
	always("/apis/autoscaling/v2", resources("autoscaling/v2",
		metav1.APIResource{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Namespaced: true}))
	always("/apis/apps/v1", resources("apps/v1",
		metav1.APIResource{Name: "deployments", SingularName: "deployment", Kind: "Deployment", Namespaced: true},
		metav1.APIResource{Name: "deployments/scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Namespaced: true}))
}

func serveDoorObjects(mux *http.ServeMux, page string) {
	ip, port, _ := net.SplitHostPort(page)
	number, _ := strconv.Atoi(port)
	pods := core.PodList{TypeMeta: doorType("v1", "PodList"), ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	for i := range doorPods {
		name := fmt.Sprintf("web-%02d", i)
		pods.Items = append(pods.Items, core.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: doorNamespace, Name: name, UID: types.UID(name), ResourceVersion: "1",
				Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"prometheus.io/port": port, "prometheus.io/path": "/metrics/" + name},
			},
			Spec: core.PodSpec{NodeName: "node", Containers: []core.Container{{Name: "web", Ports: []core.ContainerPort{{ContainerPort: int32(number)}}}}},
			Status: core.PodStatus{
				Phase: core.PodRunning, PodIP: ip, PodIPs: []core.PodIP{{IP: ip}},
				Conditions: []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}},
			},
		})
	}
	hpas := autoscaling.HorizontalPodAutoscalerList{
		TypeMeta: doorType("autoscaling/v2", "HorizontalPodAutoscalerList"), ListMeta: metav1.ListMeta{ResourceVersion: "1"},
		Items: []autoscaling.HorizontalPodAutoscaler{{
			ObjectMeta: metav1.ObjectMeta{Namespace: doorNamespace, Name: "web", UID: "hpa", ResourceVersion: "1"},
			Spec: autoscaling.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, MaxReplicas: doorPods,
				Metrics: []autoscaling.MetricSpec{{
					Type: autoscaling.PodsMetricSourceType,
					Pods: &autoscaling.PodsMetricSource{Metric: autoscaling.MetricIdentifier{Name: "request_per_second"}},
				}},
			},
		}},
	}
	mux.HandleFunc("GET /api/v1/pods", serveDoorList(pods))
	mux.HandleFunc("GET /apis/autoscaling/v2/horizontalpodautoscalers", serveDoorList(hpas))
	mux.HandleFunc("GET /apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", func(w http.ResponseWriter, r *http.Request) {
		answerDoor(w, http.StatusOK, scaling.Scale{
			TypeMeta: doorType("autoscaling/v1", "Scale"), ObjectMeta: metav1.ObjectMeta{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")},
			Status: scaling.ScaleStatus{Replicas: doorPods, Selector: "app=" + r.PathValue("name")},
		})
	})
}
