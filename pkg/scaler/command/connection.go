// The clients of a cluster.

package command

import (
	"fmt"
	"net/http"
	"os"
	"os/user"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/fairlimit"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// The limits of each client: a raise takes some ten writes. The API server has limits of its own.
const (
	clientQPS   = 200
	clientBurst = 400
)

// Connection holds the clients of a cluster, and the namespace of a command.
type Connection struct {
	Config    *rest.Config
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface
	Discovery discovery.CachedDiscoveryInterface
	// Mapper knows the cluster's kinds, with their plural, singular and short names. It reads them at the first lookup.
	Mapper    meta.RESTMapper
	Holds     *hold.Client
	Namespace string
}

// Connect makes the clients, without a request to the cluster.
func (p *Program) Connect() (*Connection, error) {
	config, namespace, err := p.LoadConfig()
	if err != nil {
		return nil, UsageErrorf("%w", err)
	}
	return NewConnection(config, namespace)
}

// NewConnection makes the clients of a configuration.
func NewConnection(config *rest.Config, namespace string) (*Connection, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // each client has a limiter of its own, with a turn for each namespace
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return fairlimit.New(clientQPS, clientBurst).Wrap(next)
	})
	client, err := kube.NewClient(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client: %w", err)
	}
	holds, err := hold.NewClient(config)
	if err != nil {
		return nil, err
	}
	cached := memory.NewMemCacheClient(client.Discovery())
	mapper := restmapper.NewShortcutExpander(kube.NewLazyRESTMapper(cached), cached, nil)
	return &Connection{Config: config, Client: client, Dynamic: objects, Discovery: cached, Mapper: mapper, Holds: holds, Namespace: namespace}, nil
}

// NewEngine returns an engine for a command, which stores holds with the client. It knows no gates and no notifiers: the controller has
// them.
func (c *Connection) NewEngine(holds *hold.Client) *rollout.Engine {
	return rollout.New(rollout.Options{
		Cluster: &rollout.LiveCluster{Client: c.Client, Dynamic: c.Dynamic, Mapper: c.Mapper, Holds: holds},
		Checker: verify.New(verify.Options{}), Identity: IdentifyCaller(),
	})
}

// commandUserName returns the name of the user; in a pod, the name of the pod's owner cannot be known: the word pod.
func commandUserName() string {
	if isCommandInPod() {
		return "pod"
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// isCommandInPod reports whether the program runs in a pod.
func isCommandInPod() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }

// IdentifyCaller returns the name of the program's pod, else USER@HOST.
func IdentifyCaller() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if isCommandInPod() {
		return host // the pod's name
	}
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return host
}
