package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/filewatch"
	"github.com/tachometer-metrics/tachometer/pkg/logging"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/config"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// runCommand are the flags of scaler run.
type runCommand struct {
	*globalFlags
	configFile     string
	checkOnly      bool
	leaseName      string
	leaseNamespace string
	healthAddress  string
	logging        *logsapi.LoggingConfiguration
}

func newRunCommand(g *globalFlags) *cobra.Command {
	r := &runCommand{globalFlags: g, logging: logging.NewConfiguration("tachometer-scaler")}
	cmd := &cobra.Command{
		Use: "run --config FILE", Short: "the controller: schedules, events, and whatever is held",
		Long: `Run keeps schedules true, takes events, and takes every held target on, whoever held it: finishes what another process began,
verifies, opens gates, and gives back what was there when a hold ends. Of several replicas one leads and writes.

It serves /livez, /readyz and /metrics, and follows changes of its configuration by itself.`,
		Args: rejectArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.runController(cmd.Context()) },
	}
	r.addRunFlags(cmd.Flags())
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag is not there: a bug here
	}
	return cmd
}

func (r *runCommand) addRunFlags(f *pflag.FlagSet) {
	f.StringVar(&r.configFile, "config", "", "`file` with the configuration, read again when it changes")
	f.BoolVar(&r.checkOnly, "check-config", false, "check the file, print everything that is wrong with it, and exit with 0 or 2")
	f.StringVar(&r.leaseName, "lease", "tachometer-scaler", "`name` of the Lease that the leader holds")
	f.StringVar(&r.leaseNamespace, "lease-namespace", "", "`namespace` of the Lease and of the ids of events; empty: the pod's own")
	f.StringVar(&r.healthAddress, "health-address", ":8080", "`address` of /livez, /readyz and /metrics")
	logsapi.AddFlags(r.logging, f)
}

// loadScalerConfig reads and validates a configuration file. Faults in the file end the program with exitFailed.
func loadScalerConfig(file string) (*config.Config, error) {
	data, err := filewatch.Read(file)
	if err != nil {
		return nil, newUsageError("%w", err)
	}
	c, err := config.Load(data)
	if err != nil {
		return nil, exitError{fmt.Errorf("%s:\n%w", file, err), exitFailed}
	}
	return c, nil
}

func (r *runCommand) runController(ctx context.Context) error {
	cfg, err := loadScalerConfig(r.configFile)
	if err != nil {
		return err
	}
	if r.checkOnly {
		fmt.Fprintf(r.out, "%s: no faults\n", r.configFile)
		return nil
	}
	if err := logsapi.ValidateAndApply(r.logging, nil); err != nil {
		return exitError{err, exitUsage}
	}
	c, err := r.connectCluster()
	if err != nil {
		return err
	}
	if r.leaseNamespace == "" {
		r.leaseNamespace = readPodNamespace(c.namespace)
	}
	klog.FromContext(ctx).Info("Scaler starts", "version", version.String())
	if err := r.serveController(ctx, c, cfg); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Scaler ended")
	return nil
}

// serveController runs everything until ctx ends, or a part cannot go on.
func (r *runCommand) serveController(ctx context.Context, c *clusterConnection, cfg *config.Config) error {
	lead := newLeadership(r.leaseNamespace + "/" + r.leaseName)
	health := newHealthServer(lead)
	crews := &componentReloader{runCommand: r, clusterConnection: c, lead: lead, health: health}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return health.serveHealth(ctx, r.healthAddress) })
	group.Go(func() error { return lead.runElection(ctx, c, r.leaseNamespace, r.leaseName) })
	group.Go(func() error { return crews.runReloader(ctx, cfg) })
	return group.Wait()
}

// namespaceFile is where a pod finds its own namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

func readPodNamespace(otherwise string) string {
	if data, err := os.ReadFile(namespaceFile); err == nil && len(data) > 0 {
		return strings.TrimSpace(string(data))
	}
	return otherwise
}

// componentReloader are those that work by the configuration: one after the other, as it changes.
type componentReloader struct {
	*runCommand
	*clusterConnection
	lead   *leadership
	health *healthServer
}

// runReloader puts a new crew to work for each good configuration.
func (s *componentReloader) runReloader(ctx context.Context, cfg *config.Config) error {
	changes := make(chan *config.Config)
	group, ctx := errgroup.WithContext(ctx)
	data, err := filewatch.Read(s.runCommand.configFile)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	s.health.recordConfigLoad(nil, time.Now())
	group.Go(func() error {
		return filewatch.Watch(ctx, s.runCommand.configFile, data, func(data []byte, err error) {
			if next := s.loadChangedConfig(ctx, data, err); next != nil {
				select {
				case changes <- next:
				case <-ctx.Done():
				}
			}
		})
	})
	group.Go(func() error { return s.restartOnChange(ctx, cfg, changes) })
	return group.Wait()
}

// loadChangedConfig is the new configuration, or nil for one that is bad: the last good one stays in force.
func (s *componentReloader) loadChangedConfig(ctx context.Context, data []byte, err error) *config.Config {
	var next *config.Config
	if err == nil {
		next, err = config.Load(data)
	}
	s.health.recordConfigLoad(err, time.Now())
	if err != nil {
		klog.FromContext(ctx).Error(err, "Configuration rejected, keeping the previous one", "file", s.runCommand.configFile)
		return nil
	}
	klog.FromContext(ctx).Info("Configuration applied", "file", s.runCommand.configFile)
	return next
}

func (s *componentReloader) restartOnChange(ctx context.Context, cfg *config.Config, changes <-chan *config.Config) error {
	for {
		working, dismiss := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- s.runComponents(working, cfg) }()
		select {
		case next := <-changes:
			next.InheritFrom(cfg)
			cfg = next
			dismiss()
			if err := <-done; err != nil {
				klog.FromContext(ctx).Error(err, "Not everything ended well before the new configuration")
			}
		case err := <-done:
			dismiss()
			return err
		}
	}
}
