package httpevent

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

var (
	documentedShell = regexp.MustCompile("(?s)```sh\n(.*?)```")
	documentedHost  = regexp.MustCompile(`http://tachometer-scaler\.[^/\s]+`)
)

// TestDocumentedSender: the receiver takes the event that the commands of docs/scaler.md send, and no event with another secret.
func TestDocumentedSender(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"sh", "openssl", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %v: the documented commands need it", err)
		}
	}
	document, err := os.ReadFile("../../../../docs/scaler.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	s := serveReceiver(t, func(_ context.Context, m event.Message) error {
		got = append(got, string(m.Data))
		return nil
	}, Options{}, writeSecretFile(t, testSecret))
	found := false
	for _, block := range documentedShell.FindAllStringSubmatch(string(document), -1) {
		if !strings.Contains(block[1], SignatureHeader) {
			continue
		}
		found = true
		commands := documentedHost.ReplaceAllLiteralString(block[1], s.URL)
		for secret, accepted := range map[string]bool{testSecret: true, "another secret, long enough": false} {
			send := exec.CommandContext(t.Context(), "sh", "-e", "-c", commands)
			send.Env = append(os.Environ(), "SECRET="+secret, "no_proxy=*")
			if out, err := send.CombinedOutput(); (err == nil) != accepted {
				t.Errorf("secret %q: %v\n%s\n%s", secret, err, commands, out)
			}
		}
	}
	if !found || len(got) != 1 || got[0] != "FLASH_SALE_START" {
		t.Errorf("commands found: %t; events taken: %q", found, got)
	}
}
