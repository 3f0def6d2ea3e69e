// Measures the cost of serving many autoscalers on a control plane without a node.

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
	"github.com/tachometer-metrics/tachometer/test/harness/host"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// autoscalersOptions are the flags of this part.
type autoscalersOptions struct {
	count    int
	measure  time.Duration
	interval time.Duration
	qps      int
}

func (o *autoscalersOptions) autoscalersFlags(fs *flag.FlagSet) {
	fs.IntVar(&o.count, "hpas", 1000, "number of autoscalers, each on 5 pods, for autoscalers")
	fs.DurationVar(&o.measure, "measure", 4*time.Minute, "how long they are watched")
	fs.DurationVar(&o.interval, "interval", 2*time.Second, "time between two scrapes of a pod there")
	fs.IntVar(&o.qps, "controller-qps", 500, "--kube-api-qps of kube-controller-manager there; 20, its default, is 20 autoscalers a second")
}

// setting is a control plane with the population, and the adapter as a process.
type setting struct {
	autoscalersOptions
	dir     string
	out     io.Writer
	root    string
	cluster *cluster.Cluster
	client  kubernetes.Interface
	pages   *process
	adapter *adapter
	version string
}

// manyAutoscalers measures the cost of serving many autoscalers.
func (b *bench) manyAutoscalers(ctx context.Context, load float64) (_ string, err error) {
	dir, err := os.MkdirTemp("", "tachometer-bench-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &setting{autoscalersOptions: b.autoscalers, dir: dir, out: b.out}
	defer func() { err = errors.Join(err, s.stopSetting(ctx)) }()
	if err := s.startSetting(ctx); err != nil {
		return "", err
	}
	seen, err := s.watchSetting(ctx)
	if err != nil {
		return "", err
	}
	return host.Describe(time.Now(), load, s.version) + "\n\n" + s.formatAutoscalers(seen), nil
}

func (s *setting) startSetting(ctx context.Context) (err error) {
	if s.root, err = stack.Root(ctx); err != nil {
		return err
	}
	if s.adapter, err = buildAdapter(ctx, s.root, s.dir); err != nil {
		return err
	}
	if err := s.startCluster(ctx); err != nil {
		return err
	}
	if s.pages, err = startGroupPages(s.dir); err != nil {
		return err
	}
	began := time.Now()
	if err := s.populateCluster(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d pods are there after %.0f s\n", s.count*podsEach, time.Since(began).Seconds())
	if err := s.adapter.installAdapter(ctx, s.cluster, s.root, s.interval); err != nil {
		return err
	}
	if err := s.makeGroupAutoscalers(ctx); err != nil {
		return err
	}
	return stack.Wait(ctx, 5*time.Minute, s.checkAllAutoscalersActive)
}

func (s *setting) startCluster(ctx context.Context) (err error) {
	policy := filepath.Join(s.dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	s.cluster, err = cluster.Start(ctx, cluster.Options{
		Name: "bench-autoscalers", Log: s.out,
		APIServerArgs: []string{"--audit-policy-file=" + policy, "--audit-log-path=" + s.auditLogFile()},
		// Deployments are scale targets only: their pods already exist.
		ControllerManagerArgs: []string{
			"--controllers=*,-deployment-controller",
			fmt.Sprintf("--kube-api-qps=%d", s.qps), fmt.Sprintf("--kube-api-burst=%d", 3*s.qps/2),
		},
	})
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.cluster.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS = -1 // bounded by the number of concurrent requests
	if s.client, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	version, err := s.client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("ask for the version of Kubernetes: %w", err)
	}
	s.version = "Kubernetes " + version.GitVersion
	return nil
}

func (s *setting) auditLogFile() string { return filepath.Join(s.dir, "audit.log") }

func (s *setting) stopSetting(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if s.adapter != nil {
		s.adapter.endBenchAdapter()
	}
	if s.pages != nil {
		s.pages.stopBenchProcess()
	}
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Down(ctx)
}

// checkAllAutoscalersActive returns an error until every autoscaler reads its metric.
func (s *setting) checkAllAutoscalersActive(ctx context.Context) error {
	active, steady, reason, err := s.countAutoscalerStates(ctx)
	if err == nil && (active < s.count || steady < s.count) {
		err = fmt.Errorf("%d of %d autoscalers are active, %d ask for %d pods: %s", active, s.count, steady, podsEach, reason)
	}
	if err != nil {
		return errors.Join(err, s.adapter.adapterExitReason())
	}
	return nil
}

// countAutoscalerStates counts the autoscalers that read their metric, and the autoscalers that request the right number of pods.
func (s *setting) countAutoscalerStates(ctx context.Context) (active, steady int, reason string, err error) {
	list, err := s.client.AutoscalingV2().HorizontalPodAutoscalers(metav1.NamespaceAll).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return 0, 0, "", fmt.Errorf("list autoscalers: %w", err)
	}
	for i := range list.Items {
		hpa := &list.Items[i]
		if hpa.Status.DesiredReplicas == podsEach {
			steady++
		}
		for _, c := range hpa.Status.Conditions {
			switch {
			case c.Type != autoscaling.ScalingActive:
			case c.Status == "True":
				active++
			default:
				reason = c.Reason + ": " + c.Message
			}
		}
	}
	return active, steady, reason, nil
}

// autoscalersUsage has the measurements of the autoscalers.
type autoscalersUsage struct {
	elapsed        time.Duration
	cpu            time.Duration // of the adapter
	busy           float64       // processors, of the whole machine
	resident       int64         // maximum, in bytes
	scrapes        float64
	missed         float64
	active, steady int
	audit          *audit
}

// watchSetting measures for the configured time.
func (s *setting) watchSetting(ctx context.Context) (*autoscalersUsage, error) {
	if err := sleepUntilBenchTime(ctx, time.Now().Add(2*hpaPeriod)); err != nil { // caches fill, and the garbage of the start is collected
		return nil, err
	}
	began := time.Now()
	seen, err := s.measureAdapterUsage(ctx)
	if err != nil {
		return nil, err
	}
	ended := time.Now()
	if seen.active, seen.steady, _, err = s.countAutoscalerStates(ctx); err != nil {
		return nil, err
	}
	seen.elapsed = ended.Sub(began)
	seen.audit, err = readAudit(s.auditLogFile(), began, ended)
	return seen, err
}

// measureAdapterUsage measures the usage of the adapter and of the machine.
func (s *setting) measureAdapterUsage(ctx context.Context) (*autoscalersUsage, error) {
	before, err := s.readAdapterClocks(ctx)
	if err != nil {
		return nil, err
	}
	most := int64(0)
	for end := before.at.Add(s.measure); time.Now().Before(end); {
		resident, err := host.Resident(s.adapter.benchChildPID())
		if err != nil {
			return nil, errors.Join(err, s.adapter.adapterExitReason())
		}
		most = max(most, resident)
		if err := sleepUntilBenchTime(ctx, time.Now().Add(time.Second)); err != nil {
			return nil, err
		}
	}
	after, err := s.readAdapterClocks(ctx)
	if err != nil {
		return nil, err
	}
	return &autoscalersUsage{
		cpu: after.cpu - before.cpu, busy: (after.busy - before.busy).Seconds() / after.at.Sub(before.at).Seconds(), resident: most,
		scrapes: after.scrapes - before.scrapes, missed: after.missed - before.missed,
	}, nil
}

// clocks are counters that only rise.
type clocks struct {
	at              time.Time
	cpu, busy       time.Duration
	scrapes, missed float64
}

func (s *setting) readAdapterClocks(ctx context.Context) (c clocks, err error) {
	c.at = time.Now()
	if c.cpu, err = host.CPUTime(s.adapter.benchChildPID()); err != nil {
		return c, err
	}
	if c.busy, err = host.Busy(); err != nil {
		return c, err
	}
	c.scrapes, c.missed, err = s.adapter.countAdapterScrapes(ctx)
	return c, err
}
