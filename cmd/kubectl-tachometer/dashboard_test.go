package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// TestDashboard: the command prints the page's address, serves it, and ends well with its context.
func TestDashboard(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	read, write := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := newKubectlRootCommand(&pluginProgram{out: write, errs: io.Discard})
	cmd.SetArgs([]string{"dashboard", "--no-open", "-n", "shop", "--server", shop.url, "--kubeconfig", os.DevNull})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	lines := bufio.NewScanner(read)
	lines.Scan()
	address := strings.TrimPrefix(lines.Text(), "Dashboard: ")
	if !regexp.MustCompile(`^http://127\.0\.0\.1:\d+/[A-Z2-7]{26}/$`).MatchString(address) {
		t.Fatalf("first line %q", lines.Text())
	}
	go io.Copy(io.Discard, read)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"api/state", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %s", response.Status)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDashboardRoot(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:8088": "http://127.0.0.1:8088", "[::1]:8088": "http://[::1]:8088", "0.0.0.0:8088": "http://localhost:8088", "[::]:8088": "http://localhost:8088",
	} {
		bound, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := formatDashboardRootURL(bound); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// TestDashboardFlags: the page's commands repeat the user's connection, and no secret.
func TestDashboardFlags(t *testing.T) {
	t.Parallel()
	p := &pluginProgram{}
	cmd := newKubectlRootCommand(p)
	var got []string
	for _, c := range cmd.Commands() {
		if c.Name() == "dashboard" {
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			flags.AddFlagSet(c.Flags())
			flags.AddFlagSet(cmd.PersistentFlags())
			if err := flags.Parse([]string{"--context", "prod", "--token", "secret", "--as-group", "a", "--as-group", "b", "-n", "shop"}); err != nil {
				t.Fatal(err)
			}
			got = givenConnectionFlags(flags)
		}
	}
	if diff := cmp.Diff([]string{"--as-group", "a", "--as-group", "b", "--context", "prod"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
