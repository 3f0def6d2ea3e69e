// Package integration tests the adapter with a real kube-apiserver and a real HPA controller, without a node: pods are objects whose
// status the tests write, and this process serves their pages.
package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// The cluster and the adapter that all tests share; nil if they cannot run, and why has the reason.
var (
	shared *cluster.Cluster
	client kubernetes.Interface
	admin  *caller
	tacho  *adapter
	why    error
	// suiteDir is a folder for the programs of all tests.
	suiteDir string
)

// hpaPeriod is the HPA controller's period: these tests measure no time, so it is shorter than the real 15 s.
const hpaPeriod = time.Second

// scaleToZero lets HPAs go to zero: the default of Kubernetes 1.37, and off before.
const scaleToZero = "--feature-gates=HPAScaleToZero=true"

// keepTerminating turns off the garbage collector of pods: every 20 s it marks as failed what terminates without a node, and no pod of
// this suite has one.
const keepTerminating = "--controllers=*,-pod-garbage-collector-controller"

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for the cluster and compute little: many run at once, even on few processors.
	if err := flag.Set("test.parallel", "10"); err != nil {
		panic(err)
	}
	os.Exit(run(m)) //nolint:forbidigo // TestMain has no other way to return the code
}

func run(m *testing.M) int {
	if flag.Lookup("test.list").Value.String() != "" {
		return m.Run()
	}
	if why = possible(); why != nil {
		fmt.Fprintf(os.Stderr, "SKIPPED: the integration tests: %v\n", why)
		return m.Run()
	}
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "tachometer-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	suiteDir = dir
	code := 1
	if err := up(ctx, dir); err != nil {
		fmt.Fprintf(os.Stderr, "start: %v\n", err)
		dump()
	} else if code = m.Run(); code != 0 {
		dump()
	} else if err := compareRights(dir); err != nil {
		fmt.Fprintf(os.Stderr, "FAIL: %v\n", err)
		code = 1
	}
	if err := down(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "end: %v\n", err)
		return 1
	}
	return code
}

// possible returns the reason why the tests cannot run here, or nil.
func possible() error {
	if testing.Short() {
		return errors.New("-short")
	}
	probe, err := net.Listen("tcp", net.JoinHostPort(podIP(1), "0"))
	if err != nil {
		return fmt.Errorf("need loopback addresses besides 127.0.0.1, as Linux has them, for the pods: %w", err)
	}
	return probe.Close()
}

// requireCluster skips t without a cluster.
func requireCluster(t *testing.T) {
	t.Helper()
	if why != nil {
		t.Skipf("SKIPPED: %v", why)
	}
}

// up starts the cluster, installs the adapter's shipped manifests, and starts the adapter.
func up(ctx context.Context, dir string) error {
	began := time.Now()
	var built *adapter
	building, ctx := errgroup.WithContext(ctx)
	building.Go(func() (err error) { built, err = buildAdapter(ctx, dir); return err })
	building.Go(func() error { return startCluster(ctx, dir) })
	if err := building.Wait(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // the context ended with the group
	var err error
	if built.port, err = cluster.FreePort(shared.HostIP()); err != nil {
		return err
	}
	root, err := stack.Root(ctx)
	if err != nil {
		return err
	}
	if err := stack.InstallProcess(ctx, shared, root, built.port); err != nil {
		return fmt.Errorf("install the adapter: %w", err)
	}
	holds, err := os.ReadFile(filepath.Join(root, "manifests", "scaler", "crd", "crd.yaml"))
	if err == nil {
		err = shared.Apply(ctx, string(holds))
	}
	if err != nil {
		return fmt.Errorf("install the scaler's resource: %w", err)
	}
	tacho = built
	started := time.Now()
	if err := errors.Join(stack.WriteAdapterKubeconfig(ctx, shared, tacho.kubeconfig), tacho.start()); err != nil {
		return err
	}
	err = tacho.await(ctx)
	fmt.Fprintf(os.Stderr, "the adapter is up after %.1f s: its APIs are available %.1f s after its start\n", time.Since(began).Seconds(), time.Since(started).Seconds())
	return err
}

func startCluster(ctx context.Context, dir string) error {
	args, err := auditRights(dir)
	if err != nil {
		return err
	}
	shared, err = cluster.Start(ctx, cluster.Options{
		HPASyncPeriod: hpaPeriod, APIServerArgs: append(args, scaleToZero), Log: os.Stderr,
		// Many tests share the controllers: by default 20 requests a second are for all of them, and one test's 200 Deployments delay the others.
		ControllerManagerArgs: []string{scaleToZero, keepTerminating, "--kube-api-qps=500", "--kube-api-burst=750"},
	})
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 1000, 1000 // many tests share a client: a delayed end of a pod would leave a load that the test does not expect
	made, err := kube.NewClient(config)
	if err != nil {
		return err
	}
	client = made
	admin, err = newCaller(shared.Kubeconfig())
	return err
}

func down(ctx context.Context) error {
	var errs []error
	if tacho != nil {
		errs = append(errs, tacho.stop())
	}
	if shared != nil {
		errs = append(errs, shared.Down(ctx))
	}
	return errors.Join(errs...)
}

// dump prints the state of the cluster for a diagnosis.
func dump() {
	if shared == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := shared.Kubectl(ctx, "get", "pods,hpa,apiservices", "-A", "-o", "wide")
	fmt.Fprintf(os.Stderr, "--- cluster (%v)\n%s\n", err, out)
	if tacho == nil {
		return
	}
	log, err := os.ReadFile(tacho.log)
	fmt.Fprintf(os.Stderr, "--- adapter (%v)\n%s\n", err, log[max(0, len(log)-20_000):])
}

// newNamespace returns a namespace for the test, after its ServiceAccount exists.
func newNamespace(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	made, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(made.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return made.Name
}

// eventually polls check until it returns nil.
func eventually(t *testing.T, atMost time.Duration, check func(context.Context) error) {
	t.Helper()
	if err := poll(t.Context(), atMost, check); err != nil {
		t.Fatal(err)
	}
}

// poll calls check every 50 ms until it returns nil; after atMost it returns check's last error.
func poll(ctx context.Context, atMost time.Duration, check func(context.Context) error) error {
	over := time.After(atMost)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return fmt.Errorf("after %v: %w", atMost, err)
		case <-tick.C:
		}
	}
}
