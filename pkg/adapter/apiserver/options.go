// The flags of the server.

package apiserver

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	cliflag "k8s.io/component-base/cli/flag"
)

// Options are the options of the generic API server that an aggregated server without storage uses.
type Options struct {
	Serving        *genericoptions.SecureServingOptionsWithLoopback
	Authentication *genericoptions.DelegatingAuthenticationOptions
	Authorization  *genericoptions.DelegatingAuthorizationOptions
	Audit          *genericoptions.AuditOptions
	Features       *genericoptions.FeatureOptions

	// ShutdownDelay is how long the server accepts requests after the signal to stop, while it is not ready.
	ShutdownDelay time.Duration
	// RequestTimeout bounds every request.
	RequestTimeout time.Duration
	// Autoscalers are the user names of HPA controllers. Their requests have places of their own.
	Autoscalers []string

	limits serverLimits // not configurable: they follow from the container's memory, not from the cluster
}

// NewOptions returns the defaults.
func NewOptions() *Options {
	o := &Options{
		Serving:        genericoptions.NewSecureServingOptions().WithLoopback(),
		Authentication: genericoptions.NewDelegatingAuthenticationOptions(),
		Authorization:  genericoptions.NewDelegatingAuthorizationOptions(),
		Audit:          genericoptions.NewAuditOptions(),
		Features:       genericoptions.NewFeatureOptions(),
		// Endpoints follow a terminating pod within a second or two; until then connections still arrive here.
		ShutdownDelay: 5 * time.Second,
		// Every response comes from memory, in milliseconds; a query has its own, shorter bound. An HPA worker
		// that waits longer delays other HPAs.
		RequestTimeout: 10 * time.Second,
		Autoscalers: []string{
			"system:serviceaccount:kube-system:horizontal-pod-autoscaler",
			"system:kube-controller-manager",              // without --use-service-account-credentials
			"system:controller:horizontal-pod-autoscaler", // GKE
		},
		limits: defaultServerLimits(),
	}
	o.Serving.BindPort = 6443 // above 1024: the adapter has no capability to bind a lower one
	// An HPA sends a request every 15 s: with the library's 10 s each would need a SubjectAccessReview too.
	// A revoked permission stays valid for up to a minute.
	o.Authorization.AllowCacheTTL = time.Minute
	// Fair queuing would need informers on, and the right to read, the cluster's flow schemas. requestLanes take its place.
	o.Features.EnablePriorityAndFairness = false
	// Profiles show memory, and cost time: off by default.
	o.Features.EnableProfiling = false
	// No self-signed certificate on disk by default: it comes from files or from the Keeper.
	o.Serving.ServerCert.CertDirectory, o.Serving.ServerCert.PairName = "", ""
	return o
}

// unused are the generic flags without an effect here.
var unused = map[string]bool{
	"enable-priority-and-fairness": true,
}

// AddFlags adds a flag for every option, in named groups.
func (o *Options) AddFlags(groups *cliflag.NamedFlagSets) {
	add := func(group string, addFlags func(*pflag.FlagSet)) {
		all := pflag.NewFlagSet(group, pflag.ContinueOnError)
		addFlags(all)
		to := groups.FlagSet(group)
		all.VisitAll(func(f *pflag.Flag) {
			if !unused[f.Name] {
				to.AddFlag(f)
			}
		})
	}
	add("secure serving", o.Serving.AddFlags)
	groups.FlagSet("secure serving").Lookup("tls-cert-file").Usage = "File with the certificate for HTTPS, followed by " +
		"its intermediate authorities, if any. The adapter reloads it when it changes. With this flag the adapter " +
		"issues no certificate and does not write the caBundle of its APIServices; leave that to cert-manager, for example."
	groups.FlagSet("secure serving").Lookup("cert-dir").Usage = "`folder` for a self-signed certificate made at the " +
		"start, as prometheus-adapter does: only for APIServices with insecureSkipTLSVerify, which trust any server"
	groups.FlagSet("secure serving").Lookup("http2-max-streams-per-connection").Usage = fmt.Sprintf("greatest number of concurrent HTTP/2 "+
		"streams of a connection, if below the server's own: %d for kube-apiserver's connections, %d for all others; 0 for the server's own",
		o.limits.proxyStreams, o.limits.streams)
	add("authentication", o.Authentication.AddFlags)
	add("authorization", o.Authorization.AddFlags)
	add("auditing", o.Audit.AddFlags)
	add("features", o.Features.AddFlags)
	fs := groups.FlagSet("secure serving")
	fs.DurationVar(&o.ShutdownDelay, "shutdown-delay-duration", o.ShutdownDelay,
		"`time` for which requests are served after the signal to stop, with /readyz failing, so that endpoints can follow")
	fs.DurationVar(&o.RequestTimeout, "request-timeout", o.RequestTimeout, "greatest `duration` of a request")
	fs.StringSliceVar(&o.Autoscalers, "autoscaler-users", o.Autoscalers,
		"`users` of HPA controllers, as kube-apiserver names them; their requests have places of their own, so that no other caller delays them")
}

// UseKubeconfig makes path the default kubeconfig of authentication and authorization; empty leaves the in-cluster configuration.
func (o *Options) UseKubeconfig(path string) {
	for _, file := range []*string{&o.Authentication.RemoteKubeConfigFile, &o.Authorization.RemoteKubeConfigFile} {
		if *file == "" {
			*file = path
		}
	}
}

// OwnCertificate reports whether the certificate comes from files.
func (o *Options) OwnCertificate() bool { return o.Serving.ServerCert.CertKey.CertFile != "" }

// SignCertificate makes a self-signed certificate if the flags name a folder for it; OwnCertificate is true afterwards.
func (o *Options) SignCertificate() error {
	if o.Serving.ServerCert.CertDirectory == "" || o.OwnCertificate() {
		return nil
	}
	o.Serving.ServerCert.PairName = "adapter"
	if err := o.Serving.MaybeDefaultWithSelfSignedCerts("localhost", nil, []net.IP{net.IPv4(127, 0, 0, 1)}); err != nil {
		return fmt.Errorf("make certificate in --cert-dir: %w", err)
	}
	return nil
}

// Validate returns every fault at once.
func (o *Options) Validate() error {
	var errs []error
	errs = append(errs, o.Serving.Validate()...)
	errs = append(errs, o.Authentication.Validate()...)
	errs = append(errs, o.Authorization.Validate()...)
	errs = append(errs, o.Audit.Validate()...)
	errs = append(errs, o.Features.Validate()...)
	if o.ShutdownDelay < 0 {
		errs = append(errs, fmt.Errorf("--shutdown-delay-duration is negative: %s", o.ShutdownDelay))
	}
	if o.RequestTimeout <= 0 {
		errs = append(errs, fmt.Errorf("--request-timeout is not positive: %s", o.RequestTimeout))
	}
	if pair := o.Serving.ServerCert.CertKey; (pair.CertFile == "") != (pair.KeyFile == "") {
		errs = append(errs, errors.New("--tls-cert-file and --tls-private-key-file go together"))
	}
	return utilerrors.NewAggregate(errs)
}
