// The flags of the adapter itself, their validation, and the ignored flags of prometheus-adapter.

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apiserver"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/logging"
)

// The bounds of --record-size: below, an autoscaler's record is dropped while it is written; above, a save takes seconds.
const (
	minRecordSize = 1 << 20
	maxRecordSize = 1 << 30
)

// commandLineOptions holds the values of all flags.
type commandLineOptions struct {
	configFile  string
	checkConfig bool
	version     bool

	allowHostNetwork bool
	autoscalerEvents bool
	recordDirectory  string
	recordSize       resource.QuantityValue

	kubeconfig        string
	discoveryInterval time.Duration
	clientQPS         float32
	clientBurst       int

	prometheus prometheusOptions
	resources  resourceOptions

	namespace, service, certSecret string

	server  *apiserver.Options
	logging *logsapi.LoggingConfiguration
}

func newDefaultOptions() *commandLineOptions {
	return &commandLineOptions{
		// A miss refreshes within seconds, so the interval matters only for resources that are removed.
		discoveryInterval: 10 * time.Minute,
		autoscalerEvents:  true,
		recordSize:        resource.QuantityValue{Quantity: *resource.NewQuantity(memorybounds.Records, resource.BinarySI)},
		namespace:         "tachometer",
		service:           "tachometer-adapter",
		certSecret:        "tachometer-adapter-cert",
		clientBurst:       rest.DefaultBurst,
		prometheus:        newPrometheusOptions(),
		resources:         newResourceOptions(),
		server:            apiserver.NewOptions(),
		logging:           logging.NewConfiguration("tachometer-adapter"),
	}
}

// newFlagSets returns the flags, in the order of --help.
func (o *commandLineOptions) newFlagSets() *cliflag.NamedFlagSets {
	groups := &cliflag.NamedFlagSets{}
	fs := groups.FlagSet("adapter")
	fs.StringVar(&o.configFile, "config", o.configFile,
		"configuration `file` (rules, scraping, backends), read again when it changes; empty: the built-in rules")
	fs.BoolVar(&o.checkConfig, "check-config", o.checkConfig,
		"check the file of --config, print every fault, and exit: 0 without faults, 1 with faults, 2 for wrong use")
	fs.BoolVar(&o.allowHostNetwork, "allow-host-network", o.allowHostNetwork,
		"scrape loopback addresses too, and any port of pods on the node's network. "+
			"Otherwise these pods are scraped at ports that they declare, except those of kubelet, etcd and the control plane")
	fs.BoolVar(&o.autoscalerEvents, "autoscaler-events", o.autoscalerEvents,
		"write an Event on a HorizontalPodAutoscaler when one of its metrics loses its value, and when it has one again; "+
			"at most three failures of an autoscaler, then one every ten minutes")
	fs.StringVar(&o.recordDirectory, "record-dir", o.recordDirectory,
		"`directory` of a volume in which this replica keeps its record of decisions over a restart; empty: in memory alone")
	fs.Var(&o.recordSize, "record-size",
		"`bytes` of memory for the record of decisions of all HorizontalPodAutoscalers, such as 12Mi; raise the container's memory with it")
	fs.BoolVar(&o.version, "version", o.version, "print the version and exit")

	fs = groups.FlagSet("cluster")
	fs.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig,
		"kubeconfig `file` of the cluster; empty: the pod's service account")
	fs.DurationVar(&o.discoveryInterval, "discovery-interval", o.discoveryInterval,
		"`time` between two reads of the cluster's API resources; a request for an unknown resource reads them within seconds")

	fs.Float32Var(&o.clientQPS, "client-qps", o.clientQPS,
		"maximum `queries` per second to kube-apiserver for each client; 0 disables throttling")
	fs.IntVar(&o.clientBurst, "client-burst", o.clientBurst, "`queries` by which a burst may exceed --client-qps")
	fs.StringVar(&o.kubeconfig, "lister-kubeconfig", o.kubeconfig, "prometheus-adapter's name of --kubeconfig")

	o.resources.addResourceFlags(groups.FlagSet("resource metrics"))
	o.prometheus.addPrometheusFlags(groups.FlagSet("prometheus-adapter"))

	fs = groups.FlagSet("serving certificate")
	fs.StringVar(&o.certSecret, "cert-secret", o.certSecret,
		"`name` of the Secret in --namespace in which the replicas share their serving certificate")
	fs.StringVar(&o.namespace, "namespace", o.namespace, "`namespace` of the adapter's Service and Secret")
	fs.StringVar(&o.service, "service-name", o.service,
		"`name` of the Service that the APIServices point at; the certificate is made for it")

	o.server.AddFlags(groups)
	logsapi.AddFlags(o.logging, groups.FlagSet("logging"))
	o.addIgnoredFlags(groups)
	return groups
}

// addIgnoredFlags adds the flags of prometheus-adapter that have no effect or another name here, so that its command lines work
// unchanged. --help omits them.
func (o *commandLineOptions) addIgnoredFlags(groups *cliflag.NamedFlagSets) {
	fs := groups.FlagSet("logging")
	for _, name := range []string{"logtostderr", "alsologtostderr", "add_dir_header", "one_output", "skip_headers", "skip_log_headers"} {
		fs.Bool(name, false, "no effect: the log goes to standard error")
	}
	for _, name := range []string{"log_dir", "log_file", "log_file_max_size", "log_backtrace_at", "stderrthreshold"} {
		fs.String(name, "", "no effect: the log goes to standard error")
	}
	fs.VisitAll(func(f *pflag.Flag) { f.Hidden = f.Hidden || strings.HasPrefix(f.Usage, "no effect") })
	serving := groups.FlagSet("secure serving")
	serving.BoolVar(&o.server.Serving.DisableHTTP2Serving, "disable-http2", false, "prometheus-adapter's name of --disable-http2-serving")
	serving.Lookup("disable-http2").Hidden = true
	groups.FlagSet("cluster").Lookup("lister-kubeconfig").Hidden = true
}

// setClientLimits applies --client-qps and --client-burst to the clients of cluster. client-go wants -1 for "no limit".
func (o *commandLineOptions) setClientLimits(cluster *rest.Config) {
	cluster.QPS, cluster.Burst = o.clientQPS, o.clientBurst
	if o.clientQPS == 0 {
		cluster.QPS = -1
	}
}

// validateAllFlags returns every fault of the flags at once.
func (o *commandLineOptions) validateAllFlags() error {
	errs := []error{o.server.Validate(), o.prometheus.validatePrometheusFlags(), o.resources.validateResourceFlags()}
	if o.configFile == "" {
		errs = append(errs, o.prometheus.rejectPrometheusFlags("without --config"))
		if o.checkConfig {
			errs = append(errs, errors.New("--check-config needs --config"))
		}
	}
	if o.discoveryInterval <= 0 {
		errs = append(errs, fmt.Errorf("--discovery-interval is not positive: %s", o.discoveryInterval))
	}
	if size := o.recordSize.Value(); size < minRecordSize || size > maxRecordSize {
		errs = append(errs, fmt.Errorf("--record-size is not between 1Mi and 1Gi: %s", o.recordSize.String()))
	}
	for flag, value := range map[string]string{"namespace": o.namespace, "service-name": o.service, "cert-secret": o.certSecret} {
		for _, fault := range utilvalidation.IsDNS1123Subdomain(value) {
			errs = append(errs, fmt.Errorf("--%s %q: %s", flag, value, fault))
		}
	}
	return utilerrors.NewAggregate(errs)
}
