package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// fetchFault makes fetch requests fail: count requests, or with -1 all until its removal.
func fetchFault(count int) kfake.Fault {
	return kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.NotLeaderForPartition, Count: count}
}

func TestNewPartition(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	r := read(t, event.KafkaConfig{Brokers: c.ListenAddrs()})
	write := writer(t, c.ListenAddrs())
	write(0, time.Now(), "a")
	r.await(t, "a")
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	grow := kmsg.NewCreatePartitionsRequestTopic()
	grow.Topic, grow.Count = topic, 4
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics = append(req.Topics, grow)
	if res, err := req.RequestWith(t.Context(), client); err != nil || res.Topics[0].ErrorCode != 0 {
		t.Fatalf("%v, %+v", err, res)
	}
	writer(t, c.ListenAddrs())(3, time.Now(), "b")
	r.await(t, "b")
}

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate returns a self-signed certificate of this machine, for servers and clients, in memory and in files.
func certificate(t *testing.T) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return pair, file(t, "tls.crt", certPEM), file(t, "tls.key", keyPEM)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	pair, certFile, keyFile := certificate(t)
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	c := cluster(t, kfake.TLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}))
	client := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}
	writer(t, c.ListenAddrs(), kgo.DialTLSConfig(client))(0, time.Now(), "a")

	_, strange, _ := certificate(t)
	ca := file(t, "ca.crt", content(t, strange))
	r := read(t, event.KafkaConfig{Brokers: c.ListenAddrs(), TLS: &event.KafkaTLS{CAFile: ca, CertFile: certFile, KeyFile: keyFile}})
	r.failing(t)
	if len(r.got) != 0 {
		t.Error("read from a broker whose certificate nobody vouches for")
	}
	if err := os.WriteFile(ca, content(t, certFile), 0o600); err != nil { // corrects the authority, without a restart
		t.Fatal(err)
	}
	r.await(t, "a")
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSASL(t *testing.T) {
	t.Parallel()
	const user, password = "tachometer", "correct horse"
	for mechanism, own := range map[string]sasl.Mechanism{
		event.MechanismPlain:       plain.Auth{User: user, Pass: password}.AsMechanism(),
		event.MechanismScramSHA256: scram.Auth{User: user, Pass: password}.AsSha256Mechanism(),
		event.MechanismScramSHA512: scram.Auth{User: user, Pass: password}.AsSha512Mechanism(),
	} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, kfake.EnableSASL(), kfake.Superuser(mechanism, user, password))
			writer(t, c.ListenAddrs(), kgo.SASL(own))(0, time.Now(), "a")
			secret := file(t, "password", []byte("wrong\n"))
			r := read(t, event.KafkaConfig{
				Brokers: c.ListenAddrs(), SASL: &event.KafkaSASL{Mechanism: mechanism, UsernameFile: file(t, "username", []byte(user+"\n")), PasswordFile: secret},
			})
			r.failing(t)
			if len(r.got) != 0 {
				t.Error("read with a wrong password")
			}
			if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil { // corrects the Secret, without a restart
				t.Fatal(err)
			}
			r.await(t, "a")
		})
	}
}
