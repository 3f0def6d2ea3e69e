//go:build unix

// Certificate authorities, certificates and the signing key of ServiceAccount tokens.

package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// certificateLife is longer than any test; a cluster is thrown away, never renewed.
const certificateLife = 10 * 365 * 24 * time.Hour

// authority is one certificate authority of a cluster.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	path        string // of the certificate, PEM
}

// identity is the subject of a certificate.
type identity struct {
	name   string   // user name, for a client
	groups []string // groups of the user, for a client
	hosts  []string // addresses and DNS names, for a server
}

// pair holds the paths of a certificate and its key, both PEM.
type pair struct{ cert, key string }

func newAuthority(path pair, name string) (*authority, error) {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour), // a clock that is set back must not end the cluster
		NotAfter:              time.Now().Add(certificateLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create authority %s: %w", name, err)
	}
	if err := writeCertificatePair(path, der, key); err != nil {
		return nil, err
	}
	return openAuthority(path)
}

func openAuthority(path pair) (*authority, error) {
	certDER, err := readPEM(path.cert)
	if err != nil {
		return nil, err
	}
	keyDER, err := readPEM(path.key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", path.cert, err)
	}
	key, err := x509.ParseECPrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", path.key, err)
	}
	return &authority{certificate: certificate, key: key, path: path.cert}, nil
}

// issueCertificate signs a certificate valid for both servers and clients.
func (a *authority) issueCertificate(path pair, who identity) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: who.name, Organization: who.groups},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range who.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("sign certificate of %s: %w", who.name, err)
	}
	return writeCertificatePair(path, der, key)
}

func writeCertificatePair(path pair, certDER []byte, key *ecdsa.PrivateKey) error {
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(path.cert, "CERTIFICATE", certDER); err != nil {
		return err
	}
	return writePEM(path.key, "EC PRIVATE KEY", keyDER)
}

// writeServiceAccountKey writes the signing key of ServiceAccount tokens, and its public half.
func writeServiceAccountKey(private, public string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	privateDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	publicDER, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writePEM(private, "EC PRIVATE KEY", privateDER); err != nil {
		return err
	}
	return writePEM(public, "PUBLIC KEY", publicDER)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func readPEM(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("read %s: no PEM block", path)
	}
	return block.Bytes, nil
}
