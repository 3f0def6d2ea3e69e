package httpevent

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// pairRetryInterval is the time after which a pair that was rejected is read again, in case it was read while it was written.
const pairRetryInterval = time.Second

// servingPair is the certificate of the endpoint and its key. Any client can begin a handshake, so the pair is parsed only when its files change:
// that takes many times as long as two looks at files.
type servingPair struct {
	certFile, keyFile string

	mu       sync.Mutex // guards the rest
	last     *tls.Certificate
	err      error // of the latest read
	certInfo os.FileInfo
	keyInfo  os.FileInfo
	parsed   time.Time // of the latest read
}

// readServingPair returns the pair of the files, and the reason if it is that of an earlier state, or nil.
func (p *servingPair) readServingPair(now time.Time) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	certInfo, err := os.Stat(p.certFile)
	if err != nil {
		return p.last, fmt.Errorf("read certificate: %w", err)
	}
	keyInfo, err := os.Stat(p.keyFile)
	if err != nil {
		return p.last, fmt.Errorf("read key: %w", err)
	}
	if isSameVersion(certInfo, p.certInfo) && isSameVersion(keyInfo, p.keyInfo) && (p.err == nil || now.Sub(p.parsed) < pairRetryInterval) {
		return p.last, p.err
	}
	p.certInfo, p.keyInfo, p.parsed = certInfo, keyInfo, now
	pair, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if p.err = err; err == nil {
		p.last = &pair
	}
	return p.last, p.err
}

// isSameVersion reports whether a file has not changed since an earlier look, which is nil before the first.
func isSameVersion(info, earlier os.FileInfo) bool {
	return earlier != nil && os.SameFile(info, earlier) && info.ModTime().Equal(earlier.ModTime()) && info.Size() == earlier.Size()
}
