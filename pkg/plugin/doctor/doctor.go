// Package doctor diagnoses the chain from an autoscaler to its metrics (adapter pods, APIServices, rights, network policies, targets),
// and names the command that mends the first broken hop.
package doctor

import (
	"context"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// Status is the outcome of a check.
type Status string

// The outcomes.
const (
	StatusOK      Status = "ok"
	StatusWarning Status = "warning"
	StatusFail    Status = "FAIL"
	StatusUnread  Status = "could not read"
)

// Check is one check with its outcome.
type Check struct {
	// Name is the hop: apiservice, certificate, service, …
	Name string `json:"name"`
	// Subject is the checked object; it may be empty.
	Subject string `json:"subject,omitempty"`
	Status  Status `json:"status"`
	Message string `json:"message"`
	// Fix is the command that mends it, or that shows more where no command can mend it.
	Fix string `json:"fix,omitempty"`
}

// Report lists the checks in the order of the chain.
type Report struct {
	Checks []Check `json:"checks"`
}

// First returns the first broken check; without one the first warning, and nil if there is none either.
func (r *Report) First() *Check {
	for _, status := range []Status{StatusFail, StatusWarning} {
		if i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Status == status }); i >= 0 {
			return &r.Checks[i]
		}
	}
	return nil
}

// Broken reports whether a check failed.
func (r *Report) Broken() bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Status == StatusFail })
}

// CertificateReader returns the certificates that a pod serves on a port, the leaf first.
type CertificateReader interface {
	ReadCertificates(ctx context.Context, namespace, pod string, port int32) ([]*x509.Certificate, error)
}

// Options are the connections of a run.
type Options struct {
	Client       kubernetes.Interface
	Metrics      reading.MetricReader
	Certificates CertificateReader
	// Controller reads with the impersonation of ImpersonateHPAController; nil: nothing is read so.
	Controller reading.Reader
	// Namespace and HPA choose the autoscalers; empty for all.
	Namespace, HPA string
	// Flags are the connection flags that the user gave. Each command repeats them: without them it would act on another cluster.
	Flags []string
	Now   func() time.Time
}

// doctor is a run.
type doctor struct {
	Options
	report   Report
	services []*apiregistration.APIService // as registered, custom metrics first
	explain  *apiregistration.APIService   // of the records; nil: not registered, or unread
	adapter  adapterPlace
	ahead    time.Duration // of the adapter's clock before this machine's, as far as it is known
	objects  *inventory.Inventory
	hpas     []*autoscalingv2.HorizontalPodAutoscaler
}

// adapterPlace is where the adapter runs, as far as it could be read.
type adapterPlace struct {
	namespace, service string
	port               int32
	pods               []corev1.Pod
	podPort            int32 // zero: unknown
	policies           []networkingv1.NetworkPolicy
	policiesErr        error // of reading them
}

// Run checks the chain. A hop that cannot be read does not end the run, unless kube-apiserver itself does not answer.
func Run(ctx context.Context, opts Options) *Report {
	d := &doctor{Options: opts}
	if !d.checkClusterAPI(ctx) {
		return &d.report
	}
	d.objects = inventory.ReadCluster(ctx, opts.Client, opts.Namespace)
	d.objects.AddScaleTargets(ctx, opts.Metrics)
	for i := range d.objects.HPAs {
		if h := &d.objects.HPAs[i]; opts.HPA == "" || h.Name == opts.HPA {
			d.hpas = append(d.hpas, h)
		}
	}
	d.checkAPIServices(ctx)
	d.checkAdapterService(ctx)
	d.checkUserRights(ctx)
	d.checkAdapterNetwork(ctx)
	d.checkAPIAvailability()
	d.checkAPIDiscovery(ctx)
	d.checkControllerRead(ctx)
	for _, u := range d.objects.Unread {
		d.addDoctorCheck("objects", u.Resource, StatusUnread, u.Reason, "")
	}
	d.checkHPAController(ctx)
	d.checkAllAutoscalers(ctx)
	return &d.report
}

func (d *doctor) addDoctorCheck(name, subject string, status Status, message, fix string) {
	if len(d.Flags) > 0 && strings.HasPrefix(fix, "kubectl ") {
		fix += " " + plaintext.JoinShellWords(d.Flags...)
	}
	d.report.Checks = append(d.report.Checks, Check{name, subject, status, message, fix})
}

// checkClusterAPI reports whether kube-apiserver answers, and accepts the user. A denied or unknown path is an answer too; a fault of the
// server is none.
func (d *doctor) checkClusterAPI(ctx context.Context) bool {
	_, err := discovery.ToServerVersionInterfaceWithContext(d.Client.Discovery()).ServerVersionWithContext(ctx)
	if err == nil || apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return true
	}
	d.addDoctorCheck("cluster", "kube-apiserver", StatusFail, err.Error(), "kubectl cluster-info")
	return false
}

// checkAllAutoscalers checks each chosen autoscaler: its metrics, its conditions and its neighbours.
func (d *doctor) checkAllAutoscalers(ctx context.Context) {
	_, isNamespace := d.objects.Namespaces[d.Namespace]
	switch {
	case len(d.hpas) > 0 || inventory.AutoscalerError(d.objects.Unread) != nil:
	case d.Namespace != "" && !isNamespace && len(d.objects.Namespaces) > 0:
		d.addDoctorCheck("namespace", d.Namespace, StatusFail, "does not exist", "kubectl get namespaces")
	default:
		subject, status := "hpa/"+d.HPA, StatusFail
		if d.HPA == "" {
			subject, status = "", StatusOK
		}
		d.addDoctorCheck("autoscaler", subject, status, "there is none in "+output.DescribeScope(d.Namespace), "kubectl get hpa -A")
	}
	for _, v := range d.readAutoscalerVisits(ctx) {
		v.checkVisitedAutoscaler()
	}
}
