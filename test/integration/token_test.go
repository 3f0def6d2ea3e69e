package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/doctor"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// kubeconfigToken matches the token in the adapter's kubeconfig.
var kubeconfigToken = regexp.MustCompile(`token: "[^"]*"`)

// restartWithToken restarts the adapter with a token; empty: with the one that it had when the test began.
func restartWithToken(ctx context.Context, original []byte, token string) error {
	text := string(original)
	if token != "" {
		text = kubeconfigToken.ReplaceAllString(text, fmt.Sprintf("token: %q", token))
	}
	return errors.Join(tacho.stop(), os.WriteFile(tacho.kubeconfig, []byte(text), 0o600), tacho.start(), tacho.await(ctx))
}

// TestRejectedToken: doctor names the token that kube-apiserver no longer accepts from the adapter, though an administrator gets every value. It is not
// parallel: the HPA controller gets none meanwhile.
func TestRejectedToken(t *testing.T) {
	requireCluster(t)
	ctx, namespace := t.Context(), newNamespace(t)
	k := newKubelet(t, namespace)
	k.load.Store(3000)
	newScaled(t, namespace)
	original, err := os.ReadFile(tacho.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	kubectl := func(args ...string) string {
		out, err := shared.Kubectl(ctx, append([]string{"-n", stack.AdapterNamespace}, args...)...)
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	kubectl("create", "secret", "generic", "bound-token")
	token := kubectl("create", "token", "tachometer-adapter", "--bound-object-kind=Secret", "--bound-object-name=bound-token")
	t.Cleanup(func() {
		if err := restartWithToken(context.Background(), original, ""); err != nil {
			t.Errorf("give the adapter its token back: %v", err)
		}
	})
	if err := restartWithToken(ctx, original, token); err != nil {
		t.Fatal(err)
	}
	kubectl("delete", "secret", "bound-token") // the token ends with it
	eventually(t, 2*time.Minute, func(ctx context.Context) error {
		for _, c := range doctor.Run(ctx, newDoctorOptions(t, namespace)).Checks {
			if c.Name == "discovery" && c.Status == doctor.StatusFail && strings.Contains(c.Message, "kube-apiserver rejects the adapter's token (Unauthorized)") &&
				strings.HasSuffix(c.Fix, "rollout restart deployment/tachometer-adapter") {
				return nil
			}
		}
		return errors.New("no rejected token among the checks")
	})
}
