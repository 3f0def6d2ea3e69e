package soak

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
)

// overloadVariable has the order for the process of an overload.
const overloadVariable = "TACHOMETER_SOAK_OVERLOAD"

// overloadOrder tells the process of an overload what to do.
type overloadOrder struct {
	URL, Certificate string
	Client           [][]byte // certificate of kube-apiserver's front proxy, in DER
	Key              []byte   // its key, in PKCS 8
	Rate             float64
}

// overload has readers read at a rate for overloadTime, from a process of its own whose nice value leaves the processors to the autoscalers'
// reads and to the adapter. It returns a row of a table.
func (w *soakWorld) overload(t *testing.T, rate float64) (row string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(w.kube.Proxy.Client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	order, err := json.Marshal(overloadOrder{w.URL, w.Certificate(), w.kube.Proxy.Client.Certificate, key, rate})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "nice", "-n", "10", self, "-test.run=^TestOverloadReaders$", "-test.v", fmt.Sprintf("-soak.autoscalers=%d", *soakAutoscalers))
	command.Env = append(os.Environ(), overloadVariable+"="+string(order))
	out, err := command.CombinedOutput()
	for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "| readers") {
			row += lines.Text() + "\n"
		}
	}
	if err != nil || row == "" {
		t.Errorf("readers in the overload: %v\n%s", err, out)
	}
	return row
}

// TestOverloadReaders is the process of an overload, and no test.
func TestOverloadReaders(t *testing.T) {
	text := os.Getenv(overloadVariable)
	if text == "" {
		t.Skip("SKIPPED: only TestSoak runs this, in a process of its own")
	}
	var order overloadOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		t.Fatal(err)
	}
	server, err := os.ReadFile(order.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(order.Key)
	if err != nil {
		t.Fatal(err)
	}
	w := &soakWorld{Process: &adapter.Process{URL: order.URL}, trust: &tls.Config{
		RootCAs: adapter.NewTrust(server), ServerName: "localhost", MinVersion: tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: order.Client, PrivateKey: key}},
	}}
	reads := startSoakReads(t, w, "reader", order.Rate, overloadWorkers)
	retry.Sleep(t.Context(), overloadTime)
	shed := reads.stop().all() // an overload is late by its nature
	fmt.Printf("\n%s", shed.row("readers, overload", overloadTime))
	for code := range shed.codes {
		if code != 200 && code != 429 && code != 503 {
			t.Errorf("readers in the overload got %d, want values, 429 or 503: %v", code, shed.failure)
		}
	}
}
