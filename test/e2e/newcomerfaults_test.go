package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// hpaControllerUser is the user that the HPA controller reads metrics as.
const hpaControllerUser = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"

// awaitPod waits until the only pod of a newcomer's workload is ready.
func awaitPod(t *testing.T, namespace string) (pod corev1.Pod) {
	t.Helper()
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		list, err := s.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return err
		}
		if len(list.Items) != 1 || !slices.ContainsFunc(list.Items[0].Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			return errors.New("no pod is ready")
		}
		pod = list.Items[0]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// requestOnce counts a request: too few events for the longest window, so that the pod warms up for all of it.
func requestOnce(t *testing.T, namespace string) (end func()) {
	t.Helper()
	pod := awaitPod(t, namespace)
	response, err := http.Get("http://" + pod.Status.PodIP + ":8080/")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return func() {}
}

// denyIngress isolates a newcomer's pods by a NetworkPolicy. The cluster's network enforces none, so rules of nftables do it.
func denyIngress(t *testing.T, namespace string) (end func()) {
	t.Helper()
	pod := awaitPod(t, namespace)
	_, err := s.Client.NetworkingV1().NetworkPolicies(namespace).Create(t.Context(), &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "deny-all"}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods, err := adapters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ends []func()
	for _, adapter := range pods {
		pids, err := podProcesses(adapter)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, filterPodTraffic(t, pids[0], "ip daddr "+pod.Status.PodIP+" tcp dport 8080 drop"))
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// freezePods stops the process of a pod that had a value.
func freezePods(t *testing.T, namespace string) (end func()) {
	t.Helper()
	pod := awaitPod(t, namespace)
	findsAsNewcomer(t, []string{"doctor", "-n", namespace}, allIsWell)
	pids, err := podProcesses(pod)
	if err != nil {
		t.Fatal(err)
	}
	return stopProcesses(t, pids)
}

// takeRightsOfHPAController removes the rights to read metrics from the HPA controller's role.
func takeRightsOfHPAController(t *testing.T, _ string) (end func()) {
	t.Helper()
	roles := s.Client.RbacV1().ClusterRoles()
	set := func(rules []rbacv1.PolicyRule) error {
		role, err := roles.Get(context.Background(), "system:controller:horizontal-pod-autoscaler", metav1.GetOptions{})
		if err == nil {
			role.Rules = rules
			_, err = roles.Update(context.Background(), role, metav1.UpdateOptions{})
		}
		return err
	}
	role, err := roles.Get(t.Context(), "system:controller:horizontal-pod-autoscaler", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := s.Kubectl(context.Background(), "delete", "clusterrolebinding", "hpa-metrics", "--ignore-not-found")
		if err := errors.Join(err, set(role.Rules)); err != nil {
			t.Error(err)
		}
	})
	narrow := slices.DeleteFunc(slices.Clone(role.Rules), func(r rbacv1.PolicyRule) bool {
		return slices.ContainsFunc(r.APIGroups, func(group string) bool { return strings.HasSuffix(group, "metrics.k8s.io") })
	})
	if len(narrow) == len(role.Rules) {
		t.Fatalf("no rule for metrics in %+v", role.Rules)
	}
	if err := set(narrow); err != nil {
		t.Fatal(err)
	}
	return func() {} // doctor's command gives the rights back
}

// registerOtherAdapter lets the APIService name another adapter's Service, as the manifests of that adapter do.
func registerOtherAdapter(t *testing.T, _ string) (end func()) {
	t.Helper()
	const name = "v1beta2.custom.metrics.k8s.io"
	set := func(namespace, service string) {
		patch := fmt.Sprintf(`{"spec":{"service":{"namespace":%q,"name":%q}}}`, namespace, service)
		if out, err := s.Kubectl(context.Background(), "patch", "apiservice", name, "--type=merge", "-p", patch); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	end = sync.OnceFunc(func() { set(stack.AdapterNamespace, "tachometer-adapter") })
	t.Cleanup(end)
	set("monitoring", "prometheus-adapter")
	return end
}

// runFix runs a command that doctor printed, as a person would.
func runFix(t *testing.T, fix string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", fix)
	cmd.Env = append(os.Environ(), s.Cluster.Env()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", fix, err, out)
	}
}

// expiredCertificatePatch lets the adapter's pods, all at once, serve the certificate of the Secret "expired".
const expiredCertificatePatch = `[{"op":"replace","path":"/spec/strategy","value":{"type":"Recreate"}},` +
	`{"op":"add","path":"/spec/template/spec/volumes/-","value":{"name":"expired","secret":{"secretName":"expired"}}},` +
	`{"op":"add","path":"/spec/template/spec/containers/0/volumeMounts/-","value":{"name":"expired","mountPath":"/expired"}},` +
	`{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--tls-cert-file=/expired/tls.crt"},` +
	`{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--tls-private-key-file=/expired/tls.key"}]`

// serveExpiredCertificate lets the adapter serve a certificate of files that expired.
func serveExpiredCertificate(t *testing.T, _ string) (end func()) {
	t.Helper()
	ctx := t.Context()
	secrets, deployments := s.Client.CoreV1().Secrets(stack.AdapterNamespace), s.Client.AppsV1().Deployments(stack.AdapterNamespace)
	if _, err := secrets.Create(ctx, newExpiredCertificate(t, "expired"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	whole, err := deployments.Get(ctx, "tachometer-adapter", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		ctx := context.Background()
		current, err := deployments.Get(ctx, whole.Name, metav1.GetOptions{})
		if err == nil {
			current.Spec = whole.Spec
			_, err = deployments.Update(ctx, current, metav1.UpdateOptions{})
		}
		if err == nil {
			_, err = s.Kubectl(ctx, "-n", stack.AdapterNamespace, "rollout", "status", "deployment/"+whole.Name, "--timeout=120s")
		}
		if err == nil {
			err = secrets.Delete(ctx, "expired", metav1.DeleteOptions{})
		}
		if err == nil {
			err = stack.Wait(ctx, time.Minute, func(ctx context.Context) error { return steady(ctx, 2) })
		}
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	if _, err := deployments.Patch(ctx, whole.Name, types.JSONPatchType, []byte(expiredCertificatePatch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	return end
}

// newExpiredCertificate returns a Secret with a certificate for the adapter's Service that was valid until an hour ago.
func newExpiredCertificate(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	host := "tachometer-adapter." + stack.AdapterNamespace + ".svc"
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
			corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		},
	}
}
