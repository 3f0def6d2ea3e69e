// Whether a controller runs that ends and verifies holds.

package command

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The Lease of the controller as it is shipped, and the age at which it says that no controller runs.
const (
	controllerNamespace = "tachometer"
	controllerLease     = "tachometer-scaler"
	staleLeaseAge       = time.Minute
)

// warnScalerCommandController says that nothing ends the hold, or verifies its pods, if no controller runs. Without the right to read
// the Lease there is no warning.
func (s *setCommand) warnScalerCommandController(ctx context.Context, c *Connection, out *outputPrinter) {
	if s.holdFor == 0 && s.wait {
		return
	}
	lease, err := c.Client.CoordinationV1().Leases(controllerNamespace).Get(ctx, controllerLease, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil || lease.Spec.RenewTime != nil && time.Since(lease.Spec.RenewTime.Time) < staleLeaseAge:
		return
	}
	missing := "nothing verifies its pods: use --wait"
	if s.holdFor > 0 {
		missing = fmt.Sprintf("nothing ends it at its end: run `%s release --expired` then", s.Name)
	}
	out.printScalerCommandEvent("warning", "", fmt.Sprintf("no controller holds the Lease %s/%s, so %s", controllerNamespace, controllerLease, missing), nil)
}
