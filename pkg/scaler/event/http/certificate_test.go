package httpevent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// newPairFiles returns a new certificate with a serial number, and its key, as PEM.
func newPairFiles(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// mountPair writes a pair into a new folder and has the link ..data lead there, as the kubelet does.
func mountPair(t *testing.T, volume string, cert, key []byte) {
	t.Helper()
	folder, err := os.MkdirTemp(volume, "..")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(folder, filepath.Join(volume, "..new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(volume, "..new"), filepath.Join(volume, "..data")); err != nil {
		t.Fatal(err)
	}
}

func newMountedPair(volume string) *servingPair {
	return &servingPair{certFile: filepath.Join(volume, "..data", "tls.crt"), keyFile: filepath.Join(volume, "..data", "tls.key")}
}

// wantSerial checks the serial number of the certificate at a time, and whether a reason is given.
func wantSerial(t *testing.T, p *servingPair, now time.Time, serial int64, hasReason bool) *tls.Certificate {
	t.Helper()
	pair, err := p.readServingPair(now)
	if (err != nil) != hasReason {
		t.Errorf("error %v", err)
	}
	switch {
	case pair == nil && serial != 0:
		t.Fatalf("no certificate, want %d", serial)
	case pair != nil && pair.Leaf.SerialNumber.Int64() != serial:
		t.Fatalf("certificate %s, want %d", pair.Leaf.SerialNumber, serial)
	}
	return pair
}

// TestCertificateStaysParsed: handshakes share one parsed certificate until its files change.
func TestCertificateStaysParsed(t *testing.T) {
	t.Parallel()
	volume, now := t.TempDir(), time.Now()
	p := newMountedPair(volume)
	wantSerial(t, p, now, 0, true)

	cert, key := newPairFiles(t, 1)
	mountPair(t, volume, cert, key)
	first := wantSerial(t, p, now, 1, false)
	if again := wantSerial(t, p, now.Add(time.Hour), 1, false); again != first {
		t.Error("the second handshake parsed the certificate again")
	}

	cert, key = newPairFiles(t, 2)
	mountPair(t, volume, cert, key)
	second := wantSerial(t, p, now, 2, false)

	if err := os.RemoveAll(p.keyFile); err != nil {
		t.Fatal(err)
	}
	if kept := wantSerial(t, p, now, 2, true); kept != second {
		t.Error("without its key's file, the certificate was parsed again")
	}
}

// TestCertificateOfTwoWrites: between the writes of a certificate and of its key the last pair serves, and is not parsed for each handshake.
func TestCertificateOfTwoWrites(t *testing.T) {
	t.Parallel()
	volume, now := t.TempDir(), time.Now()
	p := newMountedPair(volume)
	cert, key := newPairFiles(t, 1)
	mountPair(t, volume, cert, key)
	wantSerial(t, p, now, 1, false)

	cert, key = newPairFiles(t, 2)
	replaceFile(t, p.certFile, cert)
	wantSerial(t, p, now, 1, true)
	parsed := p.parsed
	wantSerial(t, p, now.Add(pairRetryInterval/2), 1, true)
	if !p.parsed.Equal(parsed) {
		t.Error("each handshake parses a certificate without its key")
	}
	wantSerial(t, p, now.Add(pairRetryInterval), 1, true)
	if p.parsed.Equal(parsed) {
		t.Error("a rejected pair is not tried again")
	}
	replaceFile(t, p.keyFile, key)
	wantSerial(t, p, now.Add(pairRetryInterval), 2, false)
}

// replaceFile replaces a file by a new one.
func replaceFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestRotatedCertificateServes: a handshake after a rotation gets the new certificate, without a restart.
func TestRotatedCertificateServes(t *testing.T) {
	t.Parallel()
	volume := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	files := newMountedPair(volume)
	r := New(event.HTTPConfig{CertFile: files.certFile, KeyFile: files.keyFile}, nil, Options{Listener: listener})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for serial := int64(1); serial <= 3; serial++ {
		cert, key := newPairFiles(t, serial)
		mountPair(t, volume, cert, key)
		conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test compares the certificate
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != serial {
			t.Errorf("certificate %d, want %d", got, serial)
		}
		_ = conn.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
