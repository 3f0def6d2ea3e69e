// Package stack puts the adapter and the sample service, built from this repository, on a real local Kubernetes.
package stack

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
)

// The images that the manifests name.
const (
	AdapterImage = "tachometer-adapter:dev"
	SampleImage  = "sample:dev"
	ScalerImage  = "tachometer-scaler:dev"
)

// The namespaces of the manifests.
const (
	AdapterNamespace = "tachometer"
	SampleNamespace  = "tachometer-sample"
)

// Options configure a Stack.
type Options struct {
	// Name is the cluster's name.
	Name string
	// Keep lets the cluster outlive this process.
	Keep bool
	// Log gets the progress, in lines for people.
	Log io.Writer
}

// Stack is a running cluster with this repository's images and manifests.
type Stack struct {
	// Cluster is the local Kubernetes; nil on the user's own cluster.
	Cluster *cluster.Cluster
	// Client talks to its API server with all rights.
	Client kubernetes.Interface
	// Config is the source of Client.
	Config *rest.Config
	// Root is the folder of this repository.
	Root string

	kubectl func(ctx context.Context, args ...string) *exec.Cmd
	log     io.Writer
}

// Up starts a cluster with a node, builds the images with the repository's Dockerfile and loads them. After a failure it ends the
// cluster.
func Up(ctx context.Context, opts Options) (*Stack, error) {
	root, err := Root(ctx)
	if err != nil {
		return nil, err
	}
	c, err := cluster.Start(ctx, cluster.Options{Name: opts.Name, Node: true, Install: true, Detach: opts.Keep, Log: opts.Log})
	if err != nil {
		return nil, err
	}
	s, err := newStackOn(c.Kubeconfig(), opts.Log)
	if err == nil {
		s.Cluster, s.Root, s.kubectl = c, root, c.KubectlCommand
		err = s.loadStackImages(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, removeStackCluster(ctx, c))
	}
	return s, nil
}

func removeStackCluster(ctx context.Context, c *cluster.Cluster) string {
	if err := c.Down(context.WithoutCancel(ctx)); err != nil {
		return fmt.Sprintf(" (and the cluster could not be removed: %v)", err)
	}
	return ""
}

// On returns a stack on an existing cluster that has the images. It uses the kubectl on the path.
func On(ctx context.Context, kubeconfig string, log io.Writer) (*Stack, error) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		return nil, err
	}
	s, err := newStackOn(kubeconfig, log)
	if err != nil {
		return nil, err
	}
	s.kubectl = func(ctx context.Context, args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, kubectl, append([]string{"--kubeconfig", kubeconfig}, args...)...)
	}
	s.Root, err = Root(ctx)
	return s, err
}

func newStackOn(kubeconfig string, log io.Writer) (*Stack, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS = -1 // a single observer, which must not wait while it measures
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &Stack{Client: client, Config: config, log: log}, nil
}

// module is the module of the programs; test/go.mod replaces it by the folder of this repository.
const module = "github.com/tachometer-metrics/tachometer"

// Root returns the folder of this repository, found from the working folder.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Down ends the cluster that Up started.
func (s *Stack) Down(ctx context.Context) error {
	if s.Cluster == nil {
		return nil
	}
	return s.Cluster.Down(ctx)
}

// describeVersion returns the version of a commit, as the Makefile stamps it into programs: "dev" outside of a git repository.
func describeVersion(ctx context.Context, folder string) string {
	out, err := exec.CommandContext(ctx, "git", "-C", folder, "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "dev"
	}
	return strings.TrimSpace(string(out))
}

func (s *Stack) loadStackImages(ctx context.Context) error {
	for target, image := range map[string]string{"tachometer-adapter": AdapterImage, "sample": SampleImage, "tachometer-scaler": ScalerImage} {
		archive := filepath.Join(s.Root, "out", target+".tar")
		began := time.Now()
		fmt.Fprintf(s.log, "building image %s from the Dockerfile\n", image)
		err := cluster.BuildImage(ctx, cluster.ImageBuild{
			Context: s.Root, Target: target, Tag: image, Archive: archive, Install: true, Args: map[string]string{"VERSION": describeVersion(ctx, s.Root)},
		})
		if err != nil {
			return fmt.Errorf("build image %s: %w", image, err)
		}
		if err := s.Cluster.LoadImage(ctx, archive); err != nil {
			return fmt.Errorf("load image %s: %w", image, err)
		}
		fmt.Fprintf(s.log, "image %s is on the node (%.0f s)\n", image, time.Since(began).Seconds())
	}
	return nil
}

// Kubectl runs kubectl with the cluster's kubeconfig and returns its output, which an error contains too.
func (s *Stack) Kubectl(ctx context.Context, args ...string) (string, error) {
	out, err := s.kubectl(ctx, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
