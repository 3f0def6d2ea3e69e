// Connections to brokers: TLS and SASL.

package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// dialBroker connects to a broker, and bounds its responses.
func (c *Consumer) dialBroker(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.openBrokerConnection(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return newBrokerConn(conn), nil
}

// openBrokerConnection reads the certificate files anew.
func (c *Consumer) openBrokerConnection(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d net.Dialer
	if c.cfg.TLS == nil {
		return d.DialContext(ctx, network, address)
	}
	config, err := loadBrokerTLS(c.cfg.TLS)
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{NetDialer: &d, Config: config}).DialContext(ctx, network, address)
}

func loadBrokerTLS(t *event.KafkaTLS) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		data, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("read authorities: no certificate in %s", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// newSASLMechanism returns a mechanism that reads the credentials for each connection.
func newSASLMechanism(s *event.KafkaSASL) sasl.Mechanism {
	credentials := func() (user, password string, err error) {
		if user, err = readBrokerCredential(s.UsernameFile); err == nil {
			password, err = readBrokerCredential(s.PasswordFile)
		}
		return user, password, err
	}
	if s.Mechanism == event.MechanismPlain {
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			user, password, err := credentials()
			return plain.Auth{User: user, Pass: password}, err
		})
	}
	auth := func(context.Context) (scram.Auth, error) {
		user, password, err := credentials()
		return scram.Auth{User: user, Pass: password}, err
	}
	if s.Mechanism == event.MechanismScramSHA256 {
		return scram.Sha256(auth)
	}
	return scram.Sha512(auth)
}

// readBrokerCredential returns the content of a file without trailing line ends, which editors add.
func readBrokerCredential(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read credentials: %w", err)
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return "", errors.New("read credentials: " + path + " is empty")
	}
	return text, nil
}
