package certificate

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/cert"
)

// Provider offers a serving certificate and its key in PEM; both are empty before the first certificate.
// It is safe for concurrent use. Keeper and File implement it.
type Provider interface {
	CurrentCertKeyContent() (certPEM, keyPEM []byte)
}

// Expiry checks the validity of a certificate from any Provider.
type Expiry struct{ provider Provider }

// NewExpiry returns an Expiry and registers a self-metric with the certificate's end of validity; r may be nil.
func NewExpiry(p Provider, r prometheus.Registerer) *Expiry {
	e := &Expiry{provider: p}
	registerExpiryGauge(r, e.readExpiryTimestamp)
	return e
}

func (e *Expiry) readExpiryTimestamp() float64 {
	_, until, err := e.readValidityPeriod()
	if err != nil {
		return 0
	}
	return float64(until.Unix())
}

// Valid returns nil if the certificate may be served at the time now.
func (e *Expiry) Valid(now time.Time) error {
	from, until, err := e.readValidityPeriod()
	switch {
	case err != nil:
		return err
	case now.Before(from):
		return fmt.Errorf("the certificate is not valid before %s", from.Format(time.RFC3339))
	case now.After(until):
		return fmt.Errorf("the certificate expired at %s", until.Format(time.RFC3339))
	}
	return nil
}

func (e *Expiry) readValidityPeriod() (from, until time.Time, err error) {
	pem, _ := e.provider.CurrentCertKeyContent()
	if len(pem) == 0 {
		return from, until, errors.New("no certificate yet")
	}
	certs, err := cert.ParseCertsPEM(pem)
	if err != nil {
		return from, until, fmt.Errorf("read certificate: %w", err)
	}
	return certs[0].NotBefore, certs[0].NotAfter, nil
}

// File is a Provider that reads a certificate file at each call. It has no key.
type File string

// CurrentCertKeyContent returns the current content of the file, or nil if it cannot be read.
func (f File) CurrentCertKeyContent() (certPEM, keyPEM []byte) {
	pem, err := os.ReadFile(string(f))
	if err != nil {
		return nil, nil // as without a file, which is the server's state after a restart
	}
	return pem, nil
}
