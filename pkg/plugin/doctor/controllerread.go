// The reads of the HPA controller: the adapter may answer this user, and not the controller.

package doctor

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// ImpersonateHPAController returns the impersonation for reads as the HPA controller. kube-apiserver adds the groups of a ServiceAccount.
func ImpersonateHPAController() rest.ImpersonationConfig {
	return rest.ImpersonationConfig{UserName: hpaController}
}

// rejectedToken ends the adapter's answer where kube-apiserver answers 401 to its review of a caller's rights. kube-apiserver's administrators, and
// itself, have no such review.
const rejectedToken = `": Unauthorized`

// checkControllerRead reads the APIs as the HPA controller does first. Without the right to impersonate it, nothing is known.
func (d *doctor) checkControllerRead(ctx context.Context) {
	if d.Controller == nil || !d.isAdapterAvailable() {
		return
	}
	for _, s := range d.services {
		if !d.isAdapterAPIService(s) || !d.needsAPIService(s) {
			continue
		}
		path := formatAPIPath(s)
		_, err := d.Controller.Read(ctx, path)
		switch {
		case err == nil, reading.IsOwnFailure(err):
		case strings.Contains(err.Error(), rejectedToken):
			d.addDoctorCheck("discovery", path, StatusFail, "the adapter cannot check the HPA controller's rights: kube-apiserver rejects the adapter's token (Unauthorized)",
				d.formatRestartCommand())
			return
		default:
			d.addDoctorCheck("discovery", path, StatusFail, "the adapter answers this user, and the HPA controller gets: "+err.Error(),
				fmt.Sprintf("kubectl get --raw %s --as=%s", path, hpaController))
			return
		}
	}
}
