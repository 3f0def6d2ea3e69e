package kubeapi

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// FrontProxy has a kube-apiserver's credentials for the adapter: a certificate. With each request, the server also names the user on
// whose behalf it asks.
type FrontProxy struct {
	Authority []byte // PEM
	Client    tls.Certificate
}

// newSignedFrontProxy signs with RSA, as kubeadm does: the adapter verifies the certificate with every request.
func newSignedFrontProxy(now time.Time) (FrontProxy, error) {
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "front-proxy-ca"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	client := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "front-proxy"}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return FrontProxy{}, fmt.Errorf("make front proxy: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return FrontProxy{}, fmt.Errorf("make front proxy: %w", err)
	}
	signed, err := x509.CreateCertificate(rand.Reader, authority, authority, signer.Public(), signer)
	if err != nil {
		return FrontProxy{}, fmt.Errorf("make front proxy: %w", err)
	}
	presented, err := x509.CreateCertificate(rand.Reader, client, authority, key.Public(), signer)
	if err != nil {
		return FrontProxy{}, fmt.Errorf("make front proxy: %w", err)
	}
	var text bytes.Buffer
	err = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: signed})
	return FrontProxy{text.Bytes(), tls.Certificate{Certificate: [][]byte{presented}, PrivateKey: key}}, err
}
