// The connection to kube-apiserver, with the user's own kubeconfig.

package main

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // logins that a kubeconfig may ask for
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/doctor"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/podtls"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/try"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// The client's limits: a command reads some dozens of objects, and kube-apiserver has limits of its own.
const (
	clientQPS   = 50
	clientBurst = 100
)

// pluginConnection holds the clients of a command.
type pluginConnection struct {
	client       kubernetes.Interface
	reader       reading.Reader
	controller   reading.Reader // as the HPA controller; nil where the user impersonates another one
	creator      try.Creator
	mapper       meta.RESTMapper
	certificates doctor.CertificateReader
	namespace    string // empty: all
	now          func() time.Time
}

// newControllerReader returns a reader that impersonates the HPA controller; nil where the user impersonates another one.
func newControllerReader(config *rest.Config) (reading.Reader, error) {
	if config.Impersonate.UserName != "" {
		return nil, nil
	}
	config = rest.CopyConfig(config)
	config.Impersonate = doctor.ImpersonateHPAController()
	return reading.NewRESTReader(config)
}

func (c *pluginConnection) metricReader() reading.MetricReader {
	return reading.MetricReader{Reader: c.reader, Mapper: c.mapper, Now: c.now}
}

// connectKubeconfigCluster makes the clients, without a request to the cluster.
func (p *pluginProgram) connectKubeconfigCluster() (*pluginConnection, error) {
	config, namespace, err := kube.ReadKubeconfig(p.loadUserKubeconfig())
	if err != nil {
		return nil, usageError{err}
	}
	if p.allSpaces {
		namespace = metav1.NamespaceAll
	}
	config.QPS, config.Burst = clientQPS, clientBurst
	config.UserAgent = "kubectl-tachometer/" + version.String()
	client, err := kube.NewClient(config)
	if err != nil {
		return nil, err
	}
	reader, err := reading.NewRESTReader(config)
	if err != nil {
		return nil, err
	}
	controller, err := newControllerReader(config)
	if err != nil {
		return nil, err
	}
	return &pluginConnection{
		client: client, reader: reader, creator: reader, controller: controller,
		mapper:       kube.NewLazyRESTMapper(client.Discovery()),
		certificates: podtls.Reader{Config: config, Client: client},
		namespace:    namespace, now: time.Now,
	}, nil
}
