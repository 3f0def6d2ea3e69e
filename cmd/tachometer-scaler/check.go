// tachometer-scaler check.

package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/preflight"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/watch"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// checkCommand holds the flags of tachometer-scaler check.
type checkCommand struct {
	*scalerFlags
	configFile, leaseName, leaseNamespace string
	send                                  bool
}

func newScalerCheckCommand(g *scalerFlags) *cobra.Command {
	c := &checkCommand{scalerFlags: g}
	cmd := &cobra.Command{
		Use: "check --config FILE", Short: "check the cluster and the receivers against the needs of a configuration",
		Long: `Check asks the API server whether the custom resource of holds is installed, each namespace accepts a Hold, each kind and each workload
exists, the autoscalers allow the numbers, each right is granted, and each patch of a gate would be accepted. It reads the numbers that gates are watched by (after), and connects to every notifier and to
Kafka. It changes nothing in the cluster.

Check has the rights of its user. To check the controller, run it in the controller's pod, or with --as as its service account:

  kubectl -n tachometer exec deploy/tachometer-scaler -- /tachometer-scaler check --config /etc/tachometer/config.yaml
  tachometer-scaler check --config config.yaml --as system:serviceaccount:tachometer:tachometer-scaler

` + command.ReadExitCodesHelp,
		Args: command.RejectArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runPreflightChecks(cmd.Context()) },
	}
	cmd.Flags().StringVar(&c.configFile, "config", "", "configuration `file` of the scaler")
	cmd.Flags().BoolVar(&c.send, "send", false, "send a test message to every notifier")
	cmd.Flags().StringVar(&c.leaseName, "lease", "tachometer-scaler", "`name` of the leader's Lease")
	cmd.Flags().StringVar(&c.leaseNamespace, "lease-namespace", "", "`namespace` of the Lease; empty: the pod's namespace, else tachometer")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag is not there: a bug here
	}
	return cmd
}

// runPreflightChecks runs tachometer-scaler check.
func (c *checkCommand) runPreflightChecks(ctx context.Context) error {
	format, err := c.OutputFormat("auto", "text", "wide", "json", "yaml")
	if err != nil {
		return err
	}
	cfg, err := loadConfigFile(c.configFile)
	if err != nil {
		return err
	}
	conn, err := c.Connect()
	if err != nil {
		return err
	}
	if c.leaseNamespace == "" {
		c.leaseNamespace = readPodNamespace("tachometer")
	}
	all := preflight.Run(ctx, preflight.Inspection{
		Config: cfg, Client: conn.Client, Dynamic: conn.Dynamic, Mapper: conn.Mapper, Planner: conn.NewEngine(conn.Holds),
		Watcher:        &watch.Reader{Client: conn.Client.CoreV1().RESTClient(), HTTP: webhook.NewClient(nil)},
		LeaseNamespace: c.leaseNamespace, LeaseName: c.leaseName, Send: c.send, Now: time.Now(),
	})
	if format == "json" || format == "yaml" {
		err = command.WriteObject(c.Out, format, map[string]any{"checks": all})
	} else {
		err = c.writeCheckTable(all)
	}
	if err != nil {
		return err
	}
	return preflight.Err(all)
}

// writeCheckTable writes a line for each check.
func (c *checkCommand) writeCheckTable(all []preflight.Result) error {
	t := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CHECK\tSUBJECT\tSTATUS\tDETAIL\tFIX")
	for _, r := range all {
		cells := []string{r.Check, r.Subject, string(r.Status), strings.ReplaceAll(r.Detail, "\n", "; "), r.Fix}
		for i := range cells {
			cells[i] = plaintext.Clean(cells[i])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}
