// The command dashboard: a page on loopback, and the browser that opens it.

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/dashboard"
)

const dashboardHelp = `Serve one page about autoscalers on this machine, and open it in the browser: replicas and the reason in a sentence, load and
pods over time, values of pods, decisions with their arithmetic, faults, and the scaler's holds and calendar.

It reads the cluster every 5 s with your own rights and changes nothing. Only this machine reaches it, at an address that nobody can
guess. Decisions of the last hour come from the adapter's record; with an older adapter it remembers those since it was started. It
ends with Ctrl-C.`

// pluginDashboardFlags are the flags of the dashboard.
type pluginDashboardFlags struct {
	address string
	port    uint16
	noOpen  bool
}

func newKubectlDashboardCommand(p *pluginProgram) *cobra.Command {
	flags := pluginDashboardFlags{}
	cmd := &cobra.Command{
		Use: "dashboard", Short: "Serve a page about autoscalers on this machine", Long: dashboardHelp,
		Example: `  kubectl tachometer dashboard -n shop
  kubectl tachometer dashboard -A --port 8088 --no-open`,
		Args: rejectArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.serveDashboardOnLoopback(cmd.Context(), cmd.Flags(), flags)
		},
	}
	bindKubectlNamespaceFlag(p, cmd.Flags())
	cmd.Flags().StringVar(&flags.address, "address", "127.0.0.1", "IP `address` to listen on; beyond loopback, anyone with the page's URL sees everything that you may read")
	cmd.Flags().Uint16Var(&flags.port, "port", 0, "`port` to listen on; 0: a free one")
	cmd.Flags().BoolVar(&flags.noOpen, "no-open", false, "print the address and open no browser")
	return cmd
}

func (p *pluginProgram) serveDashboardOnLoopback(ctx context.Context, set *pflag.FlagSet, flags pluginDashboardFlags) error {
	address, err := netip.ParseAddr(flags.address)
	if err != nil {
		return usageError{fmt.Errorf("--address %q is no IP address", flags.address)}
	}
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		return err
	}
	server := dashboard.New(dashboard.Options{
		Client: c.client, Metrics: c.metricReader(), Now: c.now, Namespace: c.namespace,
		Decisions: dashboard.NewRecordedDecisions(c.reader, c.now), Calendars: calendarReader{c.client, c.namespace},
		Context: p.currentKubeconfigContext(), Flags: givenConnectionFlags(set),
	})
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", netip.AddrPortFrom(address, flags.port).String())
	if err != nil {
		return fmt.Errorf("listen for the dashboard: %w; --port chooses another port", err)
	}
	root := formatDashboardRootURL(listener.Addr())
	fmt.Fprintf(p.out, "Dashboard: %s\nIt reads with your rights and ends with Ctrl-C. Its address is a secret.\n", root+server.Path())
	if !address.IsLoopback() {
		fmt.Fprintf(p.errs, "warning: anyone with a connection to %s and the address of the page sees everything that you may read, without encryption\n", listener.Addr())
	}
	if !flags.noOpen {
		if err := openUserBrowser(root + server.LaunchPath()); err != nil {
			fmt.Fprintf(p.errs, "could not start a browser: %s; open the address above\n", plaintext.Clean(err.Error()))
		}
	}
	return server.Run(ctx, listener)
}

// formatDashboardRootURL returns http://HOST:PORT of a listener; a listener on all addresses is reached over loopback.
func formatDashboardRootURL(listening net.Addr) string {
	bound, err := netip.ParseAddrPort(listening.String())
	if err == nil && bound.Addr().IsUnspecified() {
		return "http://" + net.JoinHostPort("localhost", strconv.Itoa(int(bound.Port())))
	}
	return "http://" + listening.String()
}

// currentKubeconfigContext returns the name of the kubeconfig's context in use; empty without one.
func (p *pluginProgram) currentKubeconfigContext() string {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = p.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &p.overrides).RawConfig()
	if p.overrides.CurrentContext != "" || err != nil {
		return p.overrides.CurrentContext
	}
	return config.CurrentContext
}

// shownPluginFlags are the connection flags that shown commands repeat: none holds a secret.
var shownPluginFlags = []string{
	"as", "as-group", "as-uid", "certificate-authority", "client-certificate", "client-key", "cluster", "context", "insecure-skip-tls-verify", "kubeconfig", "server",
	"tls-server-name", "user",
}

// givenConnectionFlags returns the connection flags that the user gave, as words of a command line.
func givenConnectionFlags(set *pflag.FlagSet) []string {
	var words []string
	set.Visit(func(f *pflag.Flag) {
		if !slices.Contains(shownPluginFlags, f.Name) {
			return
		}
		if f.Value.Type() == "bool" {
			if f.Value.String() == "true" {
				words = append(words, "--"+f.Name)
			}
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, value := range values {
			words = append(words, "--"+f.Name, value)
		}
	})
	return words
}

// openUserBrowser starts the user's browser, and does not wait for its end.
func openUserBrowser(url string) error {
	command := []string{"xdg-open"}
	switch runtime.GOOS {
	case "darwin":
		command = []string{"open"}
	case "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler"}
	}
	browser := exec.Command(command[0], append(command[1:], url)...)
	if err := browser.Start(); err != nil {
		return err
	}
	return browser.Process.Release()
}
