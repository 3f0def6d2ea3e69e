//go:build unix

// The options of a cluster, its start, and the addresses and paths of a running cluster.

package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster/internal/process"
)

// ErrExists is returned by Start if a cluster of the given name is already running.
var ErrExists = errors.New("cluster runs already")

// startTimeout is for a machine ten times slower than usual.
const startTimeout = 3 * time.Minute

// Options configure Start. The zero value is a control plane that ends with the calling process.
type Options struct {
	// Name of the cluster: up to 40 of a-z, 0-9 and -. Empty: a random one.
	Name string
	// Dir is the folder that holds the folders of clusters. Empty: tachometer/clusters in the user's cache folder.
	Dir string
	// Node adds a node that runs pods: root and Linux only, see CheckNode.
	Node bool
	// Install missing Debian packages of a node, if run as root; otherwise Start returns an error with their names.
	Install bool
	// Detach lets the cluster outlive this process.
	Detach bool

	// The horizontal pod autoscaler's period and delays; 0 is Kubernetes' own default (15 s, 30 s, 5 min).
	HPASyncPeriod, HPAInitialReadinessDelay, HPACPUInitializationPeriod time.Duration
	// ExternalNameRouting makes the API server reach an APIService's Service by its name or ClusterIP, not by its endpoints. A
	// Service of type ExternalName then works, but endpoints do not. Without a node it is the only way to a process on a loopback
	// address. Start sets it if this machine has no other address. See Expose.
	ExternalNameRouting bool
	// Further arguments, appended last so they take precedence.
	APIServerArgs, ControllerManagerArgs []string

	// Log gets a line about each step; nil disables it.
	Log io.Writer
}

// Cluster is a running Kubernetes. Its methods may be called concurrently.
type Cluster struct {
	dir   string
	state state // unchanged once the cluster is started
}

// Start starts a cluster and returns when it is usable: the API server is ready, the default ServiceAccount exists and, with a node,
// the node is Ready. ctx bounds the start only. After a failed start only the logs named in the error remain. Without Options.Detach
// the cluster's processes end with this process, even if it is killed; Down removes the rest.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	if opts.Name == "" {
		opts.Name = "c" + randomClusterID()
	}
	dir, err := clusterDir(opts.Dir, opts.Name)
	if err != nil {
		return nil, err
	}
	tools, err := nodePrerequisites(ctx, opts)
	if err != nil {
		return nil, err
	}
	built, err := ensurePrograms(ctx, opts.Log)
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, state: state{Name: opts.Name, Node: opts.Node, Tools: tools, Programs: built, Owner: process.Identify(os.Getpid())}}
	if err := c.claimFolder(ctx); err != nil {
		return nil, err
	}
	if err := c.startCluster(ctx, opts); err != nil {
		err = c.diagnoseStart(err)
		// The start's own context may be done already; the cleanup needs a fresh context.
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
		defer cancel()
		return nil, fmt.Errorf("start cluster %s: %w", opts.Name, errors.Join(err, c.Down(cleanup)))
	}
	return c, nil
}

// nodePrerequisites returns the paths of the system programs required by a node.
func nodePrerequisites(ctx context.Context, opts Options) (map[string]string, error) {
	if !opts.Node {
		return nil, nil
	}
	if opts.Install {
		if err := installTools(ctx, opts.Log, nodeTools()); err != nil {
			return nil, err
		}
	}
	if err := CheckNode(); err != nil {
		return nil, err
	}
	tools, _ := findNodeTools(nodeTools())
	return tools, nil
}

func randomClusterID() string {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails
	return hex.EncodeToString(random)
}

// claimFolder creates the cluster's folder. It first removes the remains of a dead cluster with the same name.
func (c *Cluster) claimFolder(ctx context.Context) error {
	base := filepath.Dir(c.dir)
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	unlock, err := lockBuildFile(ctx, filepath.Join(base, ".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := sweepDeadClusters(ctx, base); err != nil {
		return err
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("start cluster %s: %w (%s)", c.state.Name, ErrExists, c.dir)
		}
		return err
	}
	for _, dir := range []string{"pki", "logs", "users", "images"} {
		if err := os.Mkdir(c.clusterFilePath(dir), 0o700); err != nil {
			return err
		}
	}
	if c.state.Node {
		c.state.Link, c.state.CGroup = clusterLinkName(c.dir), clusterLinkName(c.dir)
	}
	return c.writeClusterState()
}

func (c *Cluster) startCluster(ctx context.Context, opts Options) error {
	started := time.Now()
	say := func(what string) {
		fmt.Fprintf(opts.Log, "cluster %s: %s after %.1f s\n", opts.Name, what, time.Since(started).Seconds())
	}
	if err := c.writeConfiguration(ctx, opts); err != nil {
		return err
	}
	lifeline, err := c.launchSupervisor(ctx, opts)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("gave up after "+startTimeout.String()))
	defer cancel()
	if err := c.awaitControlPlane(ctx); err != nil {
		return err
	}
	say("control plane ready")
	if c.state.Node {
		if err := errors.Join(c.importPause(ctx), c.awaitNode(ctx)); err != nil {
			return err
		}
		say("node ready")
	}
	if opts.Detach {
		if _, err := io.WriteString(lifeline, "true\n"); err != nil {
			return fmt.Errorf("detach the cluster: %w", err)
		}
	}
	return nil
}

// writeConfiguration chooses addresses and writes every file that the components read.
func (c *Cluster) writeConfiguration(ctx context.Context, opts Options) error {
	if c.state.Node {
		if err := c.chooseNetwork(ctx); err != nil {
			return err
		}
	} else {
		network, err := processNetwork()
		if err != nil {
			return err
		}
		c.state.Network = network
	}
	n := c.state.Network
	c.state.ExternalName = opts.ExternalNameRouting || n.isLoopback()
	host := n.Address
	if !c.state.Node {
		host = n.Bind
	}
	c.state.Server = "https://" + net.JoinHostPort(host, strconv.Itoa(n.Ports.API))
	if err := c.writeIdentities(); err != nil {
		return err
	}
	if c.state.Node {
		if err := c.writeNodeFiles(); err != nil {
			return err
		}
	}
	return c.writeClusterState()
}

// launchSupervisor starts the supervisor and, through it, all processes; they end when the lifeline closes.
func (c *Cluster) launchSupervisor(ctx context.Context, opts Options) (lifeline io.Writer, err error) {
	spec, err := json.Marshal(c.specifyProcesses(opts))
	if err != nil {
		return nil, err
	}
	cmd, lifeline, err := c.startSupervisor()
	if err != nil {
		return nil, err
	}
	c.state.Supervisor = process.Identify(cmd.Process.Pid)
	// This goroutine is not joined: it ends with the supervisor, and keeps its lifeline open until then.
	go func() { _ = cmd.Wait() }()
	if err := c.writeClusterState(); err != nil {
		return nil, err
	}
	if c.state.Node {
		if err := c.connectNamespace(ctx, c.state.Supervisor.PID); err != nil {
			return nil, err
		}
	}
	// The supervisor starts processes only after reading this, so every running process is in the state.
	if _, err := lifeline.Write(spec); err != nil {
		return nil, fmt.Errorf("hand the specification to the supervisor: %w", err)
	}
	return lifeline, nil
}

func (c *Cluster) startSupervisor() (*exec.Cmd, io.Writer, error) {
	logFile, err := os.Create(c.clusterFilePath("logs", "supervise.log"))
	if err != nil {
		return nil, nil, err
	}
	defer logFile.Close()
	cmd := exec.Command(c.state.Programs.Supervise) // not bound to a context: it outlives the start
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = supervisorAttributes(c.state.Node)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		if c.state.Node {
			err = fmt.Errorf("%w: make namespaces: %w", ErrNoNode, err)
		}
		return nil, nil, fmt.Errorf("start the supervisor: %w", err)
	}
	return cmd, stdin, nil
}

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.state.Name }

// Dir is the cluster's folder: state, keys, and logs/COMPONENT.log.
func (c *Cluster) Dir() string { return c.dir }

// Server is the API server's URL, reachable from this machine.
func (c *Cluster) Server() string { return c.state.Server }

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.clusterFilePath("admin.kubeconfig") }

// CA is the path of the PEM certificate that verifies the API server's certificate.
func (c *Cluster) CA() string { return c.pkiPair("ca").cert }

// AdminCert is the path of the administrator's client certificate, PEM.
func (c *Cluster) AdminCert() string { return c.pkiPair("admin").cert }

// AdminKey is the path of the key of AdminCert.
func (c *Cluster) AdminKey() string { return c.pkiPair("admin").key }

// NodeIP is the node's address, and the API server's, reachable from this machine; empty without a node.
func (c *Cluster) NodeIP() string {
	if !c.state.Node {
		return ""
	}
	return c.state.Network.Address
}

// HostIP is this machine's address as the API server, and the node's pods, reach it.
func (c *Cluster) HostIP() string { return c.state.Network.HostAddress }

// PodCIDR is the range of the pods' addresses, reachable from this machine; empty without a node.
func (c *Cluster) PodCIDR() string { return c.state.Network.Pods }

// ServiceCIDR is the range of the Services' addresses. With a node they are reachable from this machine.
func (c *Cluster) ServiceCIDR() string { return c.state.Network.Services }
