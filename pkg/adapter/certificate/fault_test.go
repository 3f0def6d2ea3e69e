package certificate

import (
	"errors"
	"fmt"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	errForbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "cert", errors.New("no right"))
	// errImmutable is the answer of kube-apiserver to a write to a Secret with immutable: true.
	errImmutable = apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "cert", field.ErrorList{field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set")})
	// errWebhook is its answer while the webhook of a policy does not answer.
	errWebhook  = apierrors.NewInternalError(errors.New("failed calling webhook \"policy.example.org\": connection refused"))
	errConflict = apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, "cert", errors.New("changed"))
)

// wantTrusted connects to each replica as kube-apiserver does.
func wantTrusted(t *testing.T, c *cluster, when string, now time.Time, replicas ...*Keeper) {
	t.Helper()
	for i, k := range replicas {
		if err := handshake(k, c.bundle(t, customName), now); err != nil {
			t.Fatalf("%s: replica %d: %v", when, i, err)
		}
	}
}

// overwriteBundle does what an installation of the manifests does: it empties the caBundle.
func overwriteBundle(t *testing.T, c *cluster) {
	t.Helper()
	_, err := c.aggr.ApiregistrationV1().APIServices().Patch(t.Context(), customName, "application/merge-patch+json",
		[]byte(`{"spec":{"caBundle":null}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// The shipped rights do not include the creation of the Secret. Without it all replicas serve on, another starts, and once the
// Secret is there again they share one certificate; no connection fails in between.
func TestSecretDeletedWithoutRightToCreate(t *testing.T) {
	t.Parallel()
	c := newCluster()
	a, b := c.replica(), c.replica()
	check(t, a, start)
	check(t, b, start)
	c.secret.held, c.secret.rejected = nil, errForbidden
	now := start
	round := func(when string, replicas ...*Keeper) {
		for _, k := range replicas {
			now = now.Add(3 * time.Second)
			if err := k.reconcileCertificate(t.Context(), now); c.secret.rejected != nil && err == nil {
				t.Fatal("check says nothing about the missing Secret")
			}
			if k.Trusted() == nil {
				wantTrusted(t, c, when, now, k)
			}
		}
	}
	for range 5 {
		round("deleted", a, b)
		wantTrusted(t, c, "deleted", now, a, b)
	}
	overwriteBundle(t, c)
	round("overwritten", a, b)
	wantTrusted(t, c, "overwritten", now, a, b)

	third, fourth := c.replica(), c.replica()
	for range 10 {
		round("others started", third, a, fourth, b)
		wantTrusted(t, c, "others started", now, a, b, third, fourth)
	}
	for i, k := range []*Keeper{a, b, third, fourth} {
		if err := k.Trusted(); err != nil {
			t.Errorf("replica %d is not ready: %v", i, err)
		}
	}
	c.secret.held = &core.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cert", ResourceVersion: "0"}}
	c.secret.rejected = nil
	for range 10 {
		for _, k := range []*Keeper{third, b, fourth, a} {
			round("Secret back", k)
			wantTrusted(t, c, "Secret back", now, a, b, third, fourth)
		}
	}
	for i, k := range []*Keeper{b, third, fourth} {
		if !k.currentCertificatePair().equalsCertificatePair(a.currentCertificatePair()) {
			t.Errorf("replica %d serves another certificate", i+1)
		}
	}
}

// A replica whose clock is wrong breaks no connection, neither to itself nor to the others, and does not renew for ever.
func TestWrongClocks(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, offset := range []time.Duration{-200 * day, -70 * day, -2 * time.Hour, 2 * time.Hour, 70 * day, 100 * day, 400 * day} {
		for _, first := range []string{"right", "wrong"} {
			t.Run(fmt.Sprintf("%v/%s first", offset, first), func(t *testing.T) {
				t.Parallel()
				c := newCluster()
				right, wrong := c.replica(), c.replica()
				if first == "wrong" {
					check(t, wrong, start.Add(offset))
				}
				check(t, right, start)
				// A first pair from a clock far behind has expired for all others; it is replaced within two intervals.
				for i := range 3 {
					at := start.Add(time.Duration(i-3) * 10 * time.Second)
					check(t, right, at)
					check(t, wrong, at.Add(offset))
				}
				served := map[string]bool{}
				for i := range 40 {
					now := start.Add(time.Duration(i) * 10 * time.Second)
					check(t, wrong, now.Add(offset))
					wantTrusted(t, c, now.String(), now, right, wrong)
					check(t, right, now)
					wantTrusted(t, c, now.String(), now, right, wrong)
					served[right.currentCertificatePair().leaf.SerialNumber.String()] = true
				}
				if n := len(parseAuthorityBundle(c.bundle(t, customName))); len(served) > 2 || n > 3 {
					t.Errorf("%d certificates in minutes, %d authorities", len(served), n)
				}
			})
		}
	}
}

// A replica's clock jumps while it runs, forwards and back.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	c := newCluster()
	a, b := c.replica(), c.replica()
	check(t, a, start)
	check(t, b, start)
	for i, jump := range []time.Duration{0, 2400 * time.Hour, 0, -2400 * time.Hour, 0, 24000 * time.Hour, 0} {
		for step := range 10 {
			now := start.Add(time.Duration(10*i+step) * 10 * time.Second)
			check(t, a, now.Add(jump))
			wantTrusted(t, c, fmt.Sprint(jump, step), now, a, b)
			check(t, b, now)
			wantTrusted(t, c, fmt.Sprint(jump, step), now, a, b)
		}
	}
	if n := len(parseAuthorityBundle(c.bundle(t, customName))); n > maxAuthorities {
		t.Errorf("%d authorities", n)
	}
}

// TestStartWithARejectedSecret: whatever rejects the first write of the Secret, replicas start with pairs of their own, which all are trusted.
func TestStartWithARejectedSecret(t *testing.T) {
	t.Parallel()
	for name, rejection := range map[string]error{"forbidden": errForbidden, "immutable": errImmutable, "webhook down": errWebhook} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster()
			c.secret.rejected = rejection
			a, b := c.replica(), c.replica()
			for look := range 6 {
				for _, k := range []*Keeper{a, b} {
					now := start.Add(time.Duration(10*look) * time.Second)
					if err := k.reconcileCertificate(t.Context(), now); err == nil {
						t.Error("a check says nothing about the rejected Secret")
					}
				}
			}
			wantTrusted(t, c, name, start.Add(time.Minute), a, b)
			for i, k := range []*Keeper{a, b} {
				if err := k.Trusted(); err != nil {
					t.Errorf("replica %d is not ready: %v", i, err)
				}
			}
		})
	}
}

// Whatever rejects the renewed pair, and however long: a replica never serves an expired certificate while it can publish another.
func TestRenewalRejected(t *testing.T) {
	t.Parallel()
	for name, rejection := range map[string]error{
		"conflict": errConflict, "forbidden": errForbidden, "unreachable": errors.New("connection refused"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster()
			a, b := c.replica(), c.replica()
			check(t, a, start)
			check(t, b, start)
			c.secret.rejected = rejection
			for step := range 80 {
				now := start.Add(time.Duration(step) * 5 * 24 * time.Hour)
				for i, k := range []*Keeper{a, b} {
					for look := range 4 {
						_ = k.reconcileCertificate(t.Context(), now.Add(time.Duration(10*look+i)*time.Second))
						wantTrusted(t, c, now.String(), now.Add(time.Minute), a, b)
					}
				}
			}
			if n := len(parseAuthorityBundle(c.bundle(t, customName))); n > maxPublished {
				t.Errorf("%d authorities", n)
			}
			c.secret.rejected = nil
			for look := range 5 {
				for _, k := range []*Keeper{b, a} {
					now := start.Add(400*24*time.Hour + time.Duration(10*look)*time.Second)
					check(t, k, now)
					wantTrusted(t, c, "not rejected any more", now, a, b)
				}
			}
			if !a.currentCertificatePair().equalsCertificatePair(b.currentCertificatePair()) {
				t.Error("the replicas do not share a certificate")
			}
		})
	}
}

// Somebody empties the Secret again and again: the replicas stay trusted, and the bundle stays small.
func TestSecretEmptiedRepeatedly(t *testing.T) {
	t.Parallel()
	c := newCluster()
	a, b := c.replica(), c.replica()
	check(t, a, start)
	check(t, b, start)
	for i := range 40 {
		c.secret.held.Data = nil
		first, second := a, b
		if i%3 == 0 {
			first, second = b, a
		}
		now := start.Add(time.Duration(i) * 10 * time.Second)
		check(t, first, now)
		wantTrusted(t, c, now.String(), now, a, b)
		check(t, second, now.Add(5*time.Second))
		wantTrusted(t, c, now.String(), now, a, b)
	}
	if n := len(parseAuthorityBundle(c.bundle(t, customName))); n > maxAuthorities {
		t.Errorf("%d authorities, want up to %d", n, maxAuthorities)
	}
}

func TestAuthorityExpires(t *testing.T) {
	t.Parallel()
	names := Options{Service: "adapter", Namespace: "tachometer"}.listServiceDNSNames()
	p, err := issueCertificatePair(names, 90*24*time.Hour, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	p.authority.NotAfter = start.Add(24 * time.Hour)
	if got := p.findRenewalReason(names, start); got != "age" {
		t.Errorf("a pair whose authority expires tomorrow is due for %q", got)
	}
	if p.isUsablePair(start.Add(25 * time.Hour)) {
		t.Error("usable after its authority expired")
	}
}
