package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// The Secret's keys: tls.crt and tls.key of a kubernetes.io/tls Secret, and ca.crt, cert-manager's name for the bundle.
const (
	certKey   = "tls.crt"
	keyKey    = "tls.key"
	bundleKey = "ca.crt"
)

// backdate is the validity of a certificate before its issue. It is so long that a pair from a replica whose clock is ahead is
// valid for kube-apiserver all the same, and is no reason for another replica to renew it.
const backdate = 10 * 365 * 24 * time.Hour

// maxAuthorities bounds the authorities in a bundle: this pair's, and more than replicas can be serving.
const maxAuthorities = 5

// authorityPrefix begins the names of the authorities that a Keeper makes.
const authorityPrefix = "tachometer-adapter-ca-"

// certificatePair is a serving certificate, its key, and the authorities that a client must trust.
//
// Every pair has an authority of its own. Its key signs one certificate and is then discarded, so no stored key can sign
// another. Renewing the authority is therefore not a second, rarer path through the code.
type certificatePair struct {
	cert, key []byte // PEM
	bundle    []byte // PEM: this pair's authority, then the authorities of earlier pairs that may still be served
	leaf      *x509.Certificate
	authority *x509.Certificate // of leaf; the first in bundle
}

// issueCertificatePair makes a pair for names, valid until lifetime after now. The authorities of trusted stay in the bundle, so clients
// trust replicas that still serve an earlier pair.
func issueCertificatePair(names []string, lifetime time.Duration, trusted []*x509.Certificate, now time.Time) (*certificatePair, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate authority key: %w", err)
	}
	caTemplate, err := newCertificateTemplate(now, lifetime)
	if err != nil {
		return nil, err
	}
	caTemplate.Subject = pkix.Name{CommonName: fmt.Sprintf("%s%x", authorityPrefix, caTemplate.SerialNumber)}
	caTemplate.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	caTemplate.IsCA = true
	ca, err := signCertificate(caTemplate, caTemplate, caKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("sign authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate serving key: %w", err)
	}
	leafTemplate, err := newCertificateTemplate(now, lifetime)
	if err != nil {
		return nil, err
	}
	leafTemplate.Subject = pkix.Name{CommonName: names[0]}
	leafTemplate.DNSNames = names
	leafTemplate.KeyUsage = x509.KeyUsageDigitalSignature
	leafTemplate.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf, err := signCertificate(leafTemplate, ca, key, caKey)
	if err != nil {
		return nil, fmt.Errorf("sign serving certificate: %w", err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, fmt.Errorf("encode serving key: %w", err)
	}
	authorities := mergeAuthorities(maxAuthorities, []*x509.Certificate{ca}, trusted)
	return &certificatePair{
		cert: encodeCertificates(leaf), key: keyPEM, bundle: encodeCertificates(authorities...), leaf: leaf, authority: ca,
	}, nil
}

func newCertificateTemplate(now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             now.Add(-backdate).UTC(),
		NotAfter:              now.Add(lifetime).UTC(),
		BasicConstraintsValid: true,
	}, nil
}

func signCertificate(child, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, child, parent, key.Public(), parentKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func encodeCertificates(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: c.Raw}))
	}
	return b.Bytes()
}

func dropExpiredCertificates(certs []*x509.Certificate, now time.Time) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(certs), func(c *x509.Certificate) bool { return now.After(c.NotAfter) })
}

// mergeAuthorities returns the first limit different certificates of lists.
func mergeAuthorities(limit int, lists ...[]*x509.Certificate) []*x509.Certificate {
	var merged []*x509.Certificate
	for _, c := range slices.Concat(lists...) {
		if len(merged) < limit && !slices.ContainsFunc(merged, c.Equal) {
			merged = append(merged, c)
		}
	}
	return merged
}

var errNoPair = errors.New("no certificate stored yet")

// parseCertificatePair returns the pair in a Secret's data: errNoPair if it is empty, another error if it cannot serve.
func parseCertificatePair(data map[string][]byte) (*certificatePair, error) {
	p := &certificatePair{cert: data[certKey], key: data[keyKey], bundle: data[bundleKey]}
	if len(p.cert) == 0 && len(p.key) == 0 {
		return nil, errNoPair
	}
	loaded, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return nil, fmt.Errorf("read serving certificate: %w", err)
	}
	p.leaf = loaded.Leaf
	authorities, err := cert.ParseCertsPEM(p.bundle)
	if err != nil {
		return nil, fmt.Errorf("read authorities: %w", err)
	}
	if !p.isPairSignedBy(authorities[:1]) {
		return nil, errors.New("the serving certificate is not signed by the first authority")
	}
	p.authority = authorities[0]
	return p, nil
}

// parseAuthorityBundle returns the certificates in a bundle; an unreadable bundle has none, as no client could verify with it.
func parseAuthorityBundle(bundle []byte) []*x509.Certificate {
	certs, err := cert.ParseCertsPEM(bundle)
	if err != nil {
		return nil
	}
	return certs
}

// findRenewalReason returns why p must be replaced, or "" if not. A renewal is due in the last third of a pair's lifetime, which is
// the time to repair an unreachable API or a missing right.
func (p *certificatePair) findRenewalReason(names []string, now time.Time) string {
	switch {
	case !now.Before(p.computePairExpiry().Add(-certificateLifetime / 3)):
		return "age"
	case !p.isUsablePair(now):
		return "not yet valid"
	case !slices.Equal(p.leaf.DNSNames, names):
		return "names"
	}
	return ""
}

// computePairExpiry returns the end of p's validity. A client needs the authority too.
func (p *certificatePair) computePairExpiry() time.Time {
	if p.authority.NotAfter.Before(p.leaf.NotAfter) {
		return p.authority.NotAfter
	}
	return p.leaf.NotAfter
}

// isUsablePair reports whether a client would accept p now, if it trusts p's authority.
func (p *certificatePair) isUsablePair(now time.Time) bool {
	return p != nil && !now.Before(p.leaf.NotBefore) && !now.Before(p.authority.NotBefore) && !now.After(p.computePairExpiry())
}

func (p *certificatePair) isPairSignedBy(authorities []*x509.Certificate) bool {
	return slices.ContainsFunc(authorities, func(a *x509.Certificate) bool { return p.leaf.CheckSignatureFrom(a) == nil })
}

func (p *certificatePair) equalsCertificatePair(o *certificatePair) bool {
	return p != nil && o != nil && p.leaf.Equal(o.leaf) && bytes.Equal(p.bundle, o.bundle)
}
