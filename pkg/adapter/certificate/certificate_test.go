package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/fake"
)

const (
	customName   = "v1beta1.custom.metrics.k8s.io"
	externalName = "v1beta1.external.metrics.k8s.io"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// optimisticSecret is the API of one Secret with the API server's rule for updates: what was read must still be there.
type optimisticSecret struct {
	corev1.SecretInterface
	mu          sync.Mutex
	version     int
	held        *core.Secret
	down        error  // what every request answers, unless nil
	rejected    error  // what every write answers, unless nil
	beforeWrite func() // another client, between a read and the write
}

func (s *optimisticSecret) Get(context.Context, string, metav1.GetOptions) (*core.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return nil, s.down
	}
	if s.held == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "cert")
	}
	return s.held.DeepCopy(), nil
}

func (s *optimisticSecret) Create(_ context.Context, in *core.Secret, _ metav1.CreateOptions) (*core.Secret, error) {
	return s.write(in, func() error {
		if s.held != nil {
			return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "secrets"}, in.Name)
		}
		return nil
	})
}

func (s *optimisticSecret) Update(_ context.Context, in *core.Secret, _ metav1.UpdateOptions) (*core.Secret, error) {
	return s.write(in, func() error {
		if s.held == nil || s.held.ResourceVersion != in.ResourceVersion {
			return apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, in.Name, errors.New("changed"))
		}
		return nil
	})
}

func (s *optimisticSecret) write(in *core.Secret, reject func() error) (*core.Secret, error) {
	if race := s.beforeWrite; race != nil {
		s.beforeWrite = nil
		race()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.down, s.rejected, reject()); err != nil {
		return nil, err
	}
	s.version++
	s.held = in.DeepCopy()
	s.held.ResourceVersion = string(rune('0' + s.version))
	return s.held.DeepCopy(), nil
}

type cluster struct {
	secret *optimisticSecret
	aggr   *fake.Clientset
}

func newCluster() *cluster {
	object := func(name, service string) runtime.Object {
		return &apiregistration.APIService{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       apiregistration.APIServiceSpec{Service: &apiregistration.ServiceReference{Namespace: "tachometer", Name: service}},
		}
	}
	return &cluster{
		secret: &optimisticSecret{held: &core.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cert", ResourceVersion: "0"}}},
		aggr:   fake.NewClientset(object(customName, "adapter"), object(externalName, "someone-else")),
	}
}

func (c *cluster) replica() *Keeper {
	return New(c.secret, c.aggr.ApiregistrationV1().APIServices(), Options{
		Secret: "cert", Namespace: "tachometer", Service: "adapter",
		APIServices: []string{customName, externalName, "v1beta9.not.installed"},
	})
}

func (c *cluster) bundle(t *testing.T, name string) []byte {
	t.Helper()
	s, err := c.aggr.ApiregistrationV1().APIServices().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Spec.CABundle
}

func check(t *testing.T, k *Keeper, now time.Time) {
	t.Helper()
	if err := k.reconcileCertificate(t.Context(), now); err != nil {
		t.Fatalf("check at %v: %v", now, err)
	}
}

// handshake connects as kube-apiserver does: it trusts only the caBundle, and wants the Service's name.
func handshake(k *Keeper, bundle []byte, now time.Time) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		served, err := tls.X509KeyPair(k.CurrentCertKeyContent())
		if err != nil {
			return
		}
		_ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{served}}).Handshake()
	}()
	return tls.Client(client, &tls.Config{
		RootCAs: pool, ServerName: "adapter.tachometer.svc", Time: func() time.Time { return now },
	}).Handshake()
}

func TestFirstCertificateIsSharedAndTrusted(t *testing.T) {
	t.Parallel()
	c := newCluster()
	a, b := c.replica(), c.replica()
	if cert, key := a.CurrentCertKeyContent(); cert != nil || key != nil {
		t.Error("a certificate before the first look")
	}
	if a.Trusted() == nil {
		t.Error("trusted without a certificate")
	}
	check(t, a, start)
	check(t, b, start)
	if !a.currentCertificatePair().equalsCertificatePair(b.currentCertificatePair()) {
		t.Error("the replicas serve different certificates")
	}
	for name, k := range map[string]*Keeper{"a": a, "b": b} {
		if err := errors.Join(k.Trusted(), handshake(k, c.bundle(t, customName), start)); err != nil {
			t.Errorf("replica %s: %v", name, err)
		}
	}
	if len(c.bundle(t, externalName)) != 0 {
		t.Error("the caBundle of an APIService of another adapter was written")
	}
	if err := NewExpiry(a, nil).Valid(start); err != nil {
		t.Errorf("Valid = %v", err)
	}
	if err := NewExpiry(a, nil).Valid(start.Add(91 * 24 * time.Hour)); err == nil {
		t.Error("valid a day after it expired")
	}
}

// The two replicas read the Secret at the same time, find it in need of a certificate, and both write.
func TestRaceHasOneWinner(t *testing.T) {
	t.Parallel()
	for name, held := range map[string]*core.Secret{
		"empty secret": {ObjectMeta: metav1.ObjectMeta{Name: "cert", ResourceVersion: "0"}},
		"no secret":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster()
			c.secret.held = held
			winner, loser := c.replica(), c.replica()
			c.secret.beforeWrite = func() { check(t, winner, start) }
			check(t, loser, start)
			if !winner.currentCertificatePair().equalsCertificatePair(loser.currentCertificatePair()) {
				t.Error("the replicas serve different certificates")
			}
			if err := handshake(loser, c.bundle(t, customName), start); err != nil {
				t.Errorf("loser is not trusted: %v", err)
			}
		})
	}
}

// Over half a year of looks at odd times, every connection to every replica succeeds, with at most two pairs
// of authorities to trust.
func TestRenewalKeepsServing(t *testing.T) {
	t.Parallel()
	c := newCluster()
	a, b := c.replica(), c.replica()
	check(t, a, start)
	check(t, b, start)
	served := map[string]bool{}
	step := func(now time.Time, k *Keeper) {
		check(t, k, now)
		for name, k := range map[string]*Keeper{"a": a, "b": b} {
			if err := handshake(k, c.bundle(t, customName), now); err != nil {
				t.Fatalf("%v after the start, replica %s: %v", now.Sub(start), name, err)
			}
			served[k.currentCertificatePair().leaf.SerialNumber.String()] = true
		}
	}
	for week := range 30 {
		day := week * 6
		noon := start.Add(time.Duration(day) * 24 * time.Hour)
		for i := range 6 { // a minute of looks, the replicas five seconds apart, and in turns the first
			first, second := a, b
			if week%2 == 0 {
				first, second = b, a
			}
			step(noon.Add(time.Duration(i)*10*time.Second), first)
			step(noon.Add(time.Duration(i)*10*time.Second+5*time.Second), second)
		}
	}
	if len(served) != 3 {
		t.Errorf("%d certificates served in 180 days, want 3: one every 60 days", len(served))
	}
	if n := len(parseAuthorityBundle(c.bundle(t, customName))); n != 2 {
		t.Errorf("%d authorities in the bundle, want 2", n)
	}
}

func TestReasonsToRenew(t *testing.T) {
	t.Parallel()
	names := Options{Service: "adapter", Namespace: "tachometer"}.listServiceDNSNames()
	p, err := issueCertificatePair(names, 90*24*time.Hour, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		names []string
		now   time.Time
		want  string
	}{
		"fresh":       {names, start, ""},
		"two thirds":  {names, start.Add(60 * 24 * time.Hour), "age"},
		"before that": {names, start.Add(59 * 24 * time.Hour), ""},
		"clock ahead": {names, start.Add(-70 * 24 * time.Hour), ""},
		"clock lost":  {names, time.Unix(0, 0), "not yet valid"},
		"moved":       {Options{Service: "adapter", Namespace: "other"}.listServiceDNSNames(), start, "names"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := p.findRenewalReason(tc.names, tc.now); got != tc.want {
				t.Errorf("due = %q, want %q", got, tc.want)
			}
		})
	}
}

// What was destroyed is made anew, and the authorities that replicas still serve under stay trusted.
func TestSecretDestroyed(t *testing.T) {
	t.Parallel()
	for name, destroy := range map[string]func(*core.Secret) *core.Secret{
		"deleted": func(*core.Secret) *core.Secret { return nil },
		"emptied": func(s *core.Secret) *core.Secret { s.Data = nil; return s },
		"garbage": func(s *core.Secret) *core.Secret { s.Data[certKey] = []byte("x"); return s },
		"no authority": func(s *core.Secret) *core.Secret {
			s.Data[bundleKey] = nil
			return s
		},
		"another's authority": func(s *core.Secret) *core.Secret {
			other, err := issueCertificatePair([]string{"x"}, time.Hour, nil, start)
			if err != nil {
				t.Fatal(err)
			}
			s.Data[bundleKey] = other.bundle
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster()
			a, b := c.replica(), c.replica()
			check(t, a, start)
			check(t, b, start)
			c.secret.held = destroy(c.secret.held)
			for i := range 10 {
				now := start.Add(time.Duration(1+i) * 10 * time.Second)
				for _, k := range []*Keeper{a, b} {
					check(t, k, now)
					for _, k := range []*Keeper{a, b} {
						if err := handshake(k, c.bundle(t, customName), now); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if stored, err := parseCertificatePair(c.secret.held.Data); err != nil || !stored.equalsCertificatePair(a.currentCertificatePair()) || !stored.equalsCertificatePair(b.currentCertificatePair()) {
				t.Errorf("the replicas do not serve what is stored: %v", err)
			}
		})
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	c := newCluster()
	k := c.replica()
	check(t, k, start)
	before := k.currentCertificatePair()
	c.secret.down = errors.New("connection refused")
	if err := k.reconcileCertificate(t.Context(), start.Add(65*24*time.Hour)); err == nil {
		t.Error("check says nothing about the outage")
	}
	if k.Trusted() != nil || !k.currentCertificatePair().equalsCertificatePair(before) {
		t.Error("an outage of the API server changed what is served")
	}
}

// Until the authorities are in place the new certificate is not served; and a replica that has only that is not ready.
func TestPublishFails(t *testing.T) {
	t.Parallel()
	c := newCluster()
	k := c.replica()
	check(t, k, start)
	before := k.currentCertificatePair()
	forbidden := true
	c.aggr.PrependReactor("patch", "apiservices", func(clienttesting.Action) (bool, runtime.Object, error) {
		return forbidden, nil, errors.New("forbidden")
	})
	renewal := start.Add(60 * 24 * time.Hour)
	for i := range 10 {
		if err := k.reconcileCertificate(t.Context(), renewal.Add(time.Duration(i)*10*time.Second)); err == nil {
			t.Fatal("check says nothing about the rejection")
		}
	}
	if !k.currentCertificatePair().equalsCertificatePair(before) || k.Trusted() != nil {
		t.Error("served a certificate that nobody trusts yet")
	}
	fresh := c.replica()
	if err := fresh.reconcileCertificate(t.Context(), renewal); err == nil || fresh.Trusted() == nil {
		t.Error("a replica that nobody trusts calls itself ready")
	}
	forbidden = false
	check(t, fresh, renewal)
	if err := fresh.Trusted(); err != nil {
		t.Errorf("Trusted = %v", err)
	}
}

func TestRunMendsAndStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		k := c.replica()
		told := make(counter, 10)
		k.AddListener(told)
		ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), klog.TODO()))
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		synctest.Wait()
		if err := k.Trusted(); err != nil {
			t.Errorf("Trusted = %v", err)
		}
		want := c.bundle(t, customName)
		patch := []byte(`{"spec":{"caBundle":null}}`)
		if _, err := c.aggr.ApiregistrationV1().APIServices().Patch(ctx, customName, "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		<-time.After(10*time.Second + time.Nanosecond)
		synctest.Wait()
		if diff := cmp.Diff(want, c.bundle(t, customName)); diff != "" {
			t.Errorf("the overwritten caBundle was not mended (-want +got):\n%s", diff)
		}
		if len(told) != 1 {
			t.Errorf("the listener was told %d times, want 1", len(told))
		}
		if notes := k.DescribeFailure(); len(notes) != 0 {
			t.Errorf("notes %q after a check that succeeded", notes)
		}
		c.secret.mu.Lock()
		c.secret.down = errForbidden
		c.secret.mu.Unlock()
		<-time.After(10 * time.Second)
		synctest.Wait()
		if notes := k.DescribeFailure(); len(notes) != 1 || k.Trusted() != nil {
			t.Errorf("notes %q, Trusted = %v after a check that failed", notes, k.Trusted())
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestExpiryOfAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tls.crt")
	registry := prometheus.NewRegistry()
	e := NewExpiry(File(path), registry)
	if err := e.Valid(start); err == nil {
		t.Error("a file that is not there is valid")
	}
	p, err := issueCertificatePair([]string{"adapter.tachometer.svc"}, time.Hour, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, p.cert, 0o600); err != nil {
		t.Fatal(err)
	}
	for at, valid := range map[time.Duration]bool{-11 * 365 * 24 * time.Hour: false, 0: true, 2 * time.Hour: false} {
		if err := e.Valid(start.Add(at)); (err == nil) != valid {
			t.Errorf("Valid after %v = %v", at, err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := families[0].GetMetric()[0].GetGauge().GetValue(), float64(start.Add(time.Hour).Unix()); got != want {
		t.Errorf("expiry metric %v, want %v", got, want)
	}
}

func FuzzParse(f *testing.F) {
	p, err := issueCertificatePair([]string{"adapter.tachometer.svc"}, time.Hour, nil, start)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.cert, p.key, p.bundle)
	f.Add(p.bundle, p.key, p.cert)
	f.Fuzz(func(t *testing.T, cert, key, bundle []byte) {
		got, err := parseCertificatePair(map[string][]byte{certKey: cert, keyKey: key, bundleKey: bundle})
		if (got == nil) == (err == nil) {
			t.Fatalf("pair %v, error %v", got, err)
		}
		if err == nil && !got.isPairSignedBy(parseAuthorityBundle(bundle)) {
			t.Error("accepted a certificate that its bundle does not verify")
		}
	})
}

type counter chan struct{}

func (c counter) Enqueue() { c <- struct{}{} }
