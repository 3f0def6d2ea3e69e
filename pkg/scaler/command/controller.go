// Whether a controller runs that ends and verifies holds.

package command

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// The Lease of the controller as it is shipped, and the age at which it says that no controller runs.
const (
	controllerNamespace = "tachometer"
	controllerLease     = "tachometer-scaler"
	staleLeaseAge       = time.Minute
)

// adoptionTimeout is above the time in which a controller labels a new hold of a namespace that it watches.
const adoptionTimeout = 3 * time.Second

// warnMissingController says what nobody does for a hold if no controller runs, or none watches the namespace. Without the right to read the Lease there
// is no warning.
func (c *Connection) warnMissingController(ctx context.Context, h *hold.Object, undone string, out *outputPrinter) {
	reason := fmt.Sprintf("no controller holds the Lease %s/%s", controllerNamespace, controllerLease)
	lease, err := c.Client.CoordinationV1().Leases(controllerNamespace).Get(ctx, controllerLease, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return
	case lease.Spec.RenewTime != nil && time.Since(lease.Spec.RenewTime.Time) < staleLeaseAge:
		limited, cancel := context.WithTimeout(ctx, adoptionTimeout)
		defer cancel()
		if waitForHoldAdoption(limited, h.Name, func() ([]hold.Object, error) { return c.Holds.ListHolds(limited, h.Namespace, "") }) {
			return
		}
		reason = fmt.Sprintf("the controller does not act on holds in namespace %s: add it to namespaces in its configuration", h.Namespace)
	}
	out.printCommandEvent("warning", "", fmt.Sprintf("%s, so %s", reason, undone), nil)
}

// waitForHoldAdoption waits until a controller has labelled a hold, and reports false if ctx ends first. A hold that is gone, or cannot be read, needs
// no warning.
func waitForHoldAdoption(ctx context.Context, name string, list func() ([]hold.Object, error)) bool {
	for {
		all, err := list()
		i := slices.IndexFunc(all, func(h hold.Object) bool { return h.Name == name })
		if ctx.Err() != nil {
			return false
		}
		if err != nil || i < 0 || all[i].Labels[hold.ControllerLabel] != "" {
			return true
		}
		if !retry.Sleep(ctx, adoptionTimeout/20) {
			return false
		}
	}
}
