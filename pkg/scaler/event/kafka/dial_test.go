package kafka

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

func TestUnreadableFiles(t *testing.T) {
	t.Parallel()
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if _, err := loadBrokerTLS(&event.KafkaTLS{CAFile: "/nowhere/ca.crt"}); err == nil {
		t.Error("a CA file that does not exist is accepted")
	}
	if _, err := loadBrokerTLS(&event.KafkaTLS{CAFile: write("ca.crt", "no certificate")}); err == nil {
		t.Error("a CA file without certificates is accepted")
	}
	if _, err := loadBrokerTLS(&event.KafkaTLS{CertFile: "/nowhere/tls.crt", KeyFile: "/nowhere/tls.key"}); err == nil {
		t.Error("a client certificate that does not exist is accepted")
	}
	if _, err := readBrokerCredential(write("password", "\n")); err == nil {
		t.Error("an empty password is accepted")
	}
}
