// tachometer-scaler run, and the reload of its configuration.

package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/filewatch"
	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/logging"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/config"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// runCommand holds the flags of tachometer-scaler run.
type runCommand struct {
	*scalerFlags
	configFile     string
	checkOnly      bool
	leaseName      string
	leaseNamespace string
	healthAddress  string
	logging        *logsapi.LoggingConfiguration
}

func newScalerRunCommand(g *scalerFlags) *cobra.Command {
	r := &runCommand{scalerFlags: g, logging: logging.NewConfiguration("tachometer-scaler")}
	cmd := &cobra.Command{
		Use: "run --config FILE", Short: "run the controller for schedules, events and holds",
		Long: `Run applies schedules, accepts events, and reconciles every held workload, including the holds of other processes: it finishes
interrupted steps, verifies new pods, opens gates, and restores the original numbers at the end. Of several replicas one leads and writes.

It serves /livez, /readyz and /metrics, and reloads its configuration when the file changes.

` + command.ReadExitCodesHelp,
		Args: command.RejectArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.runElectedReplica(cmd.Context()) },
	}
	r.addRunFlags(cmd.Flags())
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag is not there: a bug here
	}
	return cmd
}

func (r *runCommand) addRunFlags(f *pflag.FlagSet) {
	f.StringVar(&r.configFile, "config", "", "configuration `file`; the controller reloads it when it changes")
	f.BoolVar(&r.checkOnly, "check-config", false, "check the file, print every fault, and exit: 0 without faults, 1 with faults, 2 for wrong use")
	f.StringVar(&r.leaseName, "lease", "tachometer-scaler", "`name` of the leader's Lease")
	f.StringVar(&r.leaseNamespace, "lease-namespace", "", "`namespace` of the Lease and of the event ids; empty: the pod's namespace")
	f.StringVar(&r.healthAddress, "health-address", ":8080", "`address` of /livez, /readyz and /metrics")
	logsapi.AddFlags(r.logging, f)
}

// loadConfigFile reads and validates a configuration file. Faults in the file end the program with command.ExitFailed.
func loadConfigFile(file string) (*config.Config, error) {
	data, err := filewatch.Read(file)
	if err != nil {
		return nil, command.UsageErrorf("%w", err)
	}
	c, err := config.Load(data)
	if err != nil {
		return nil, command.WithExitCode(fmt.Errorf("%s:\n%w", file, err), command.ExitFailed)
	}
	return c, nil
}

// runElectedReplica runs tachometer-scaler run.
func (r *runCommand) runElectedReplica(ctx context.Context) error {
	cfg, err := loadConfigFile(r.configFile)
	if err != nil {
		return err
	}
	if r.checkOnly {
		fmt.Fprintf(r.Out, "%s: no faults\n", r.configFile)
		for _, note := range cfg.Notes() {
			fmt.Fprintf(r.Out, "note: %s\n", note)
		}
		return nil
	}
	if err := logging.Apply(r.logging); err != nil {
		return command.WithExitCode(err, command.ExitUsage)
	}
	c, err := r.Connect()
	if err != nil {
		return err
	}
	c.Mapper = kube.NewLazyRESTMapper(c.Client.Discovery()) // finds the kinds that are installed later
	if r.leaseNamespace == "" {
		r.leaseNamespace = readPodNamespace(c.Namespace)
	}
	klog.FromContext(ctx).Info("Scaler started", "version", version.String())
	if err := r.serveUntilPartEnds(ctx, c, cfg); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Scaler stopped")
	return nil
}

// serveUntilPartEnds runs health server, election and components until ctx ends or a part fails.
func (r *runCommand) serveUntilPartEnds(ctx context.Context, c *command.Connection, cfg *config.Config) error {
	lead := newElection(r.leaseNamespace + "/" + r.leaseName)
	health := newHealthServer(lead)
	queue := notify.NewMessageQueue(nil, notify.MessageQueueOptions{Registerer: health.registry})
	reloader := &componentReloader{runCommand: r, Connection: c, lead: lead, health: health, queue: queue}
	group, ctx := errgroup.WithContext(ctx)
	posting, posted := context.WithCancel(context.WithoutCancel(ctx)) // the queue outlives the components, which post to it
	group.Go(func() error { return queue.Run(posting) })
	group.Go(func() error { return health.serveProbesOnAddress(ctx, r.healthAddress) })
	group.Go(func() error { return lead.runLeaderElection(ctx, c, r.leaseNamespace, r.leaseName) })
	group.Go(func() error {
		defer posted()
		return reloader.runConfigReloads(ctx, cfg)
	})
	return group.Wait()
}

// namespaceFile holds the namespace of a pod.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// readPodNamespace returns the namespace of the pod, or fallback outside of a pod.
func readPodNamespace(fallback string) string {
	if data, err := os.ReadFile(namespaceFile); err == nil && len(data) > 0 {
		return strings.TrimSpace(string(data))
	}
	return fallback
}
