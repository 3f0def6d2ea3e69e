// The commands that grant missing rights.

package preflight

import (
	"context"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalmetrics "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

const (
	// applyRoles is the command that updates the shipped roles, and their bindings in the shipped namespace.
	applyRoles = "kubectl apply -f manifests/scaler/base/rbac.yaml"
	// shippedNamespace is the namespace of the shipped controller.
	shippedNamespace = "tachometer"
	// workloadsRole is the shipped ClusterRole for a namespace with workloads.
	workloadsRole = "tachometer-scaler-workloads"
)

// describeSubject returns the checked user as kubectl create rolebinding takes it. If the API server does not tell, it is the shipped ServiceAccount.
func (o *Inspection) describeSubject(ctx context.Context) string {
	const accountPrefix = "system:serviceaccount:"
	review, err := o.Client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || review.Status.UserInfo.Username == "" {
		return fmt.Sprintf("--serviceaccount=%s:tachometer-scaler", o.LeaseNamespace)
	}
	if account, ok := strings.CutPrefix(review.Status.UserInfo.Username, accountPrefix); ok {
		return "--serviceaccount=" + account
	}
	return "--user='" + review.Status.UserInfo.Username + "'"
}

// describeGrantingCommand returns the command that grants a right to a subject: it binds a shipped role where one has the right, or else a role with this right
// alone. isBound says that other rights of the namespace are granted, so that a bound shipped role is older than this program.
func describeGrantingCommand(r Right, subject, leaseNamespace string, isBound bool) string {
	isOwn := r.Namespace == leaseNamespace && (r.Resource == "leases" || r.Resource == "configmaps" && (r.Name == "" || strings.HasSuffix(r.Name, "-events")))
	switch {
	case isOwn && leaseNamespace == shippedNamespace:
		return applyRoles
	case !isOwn && r.isOfWorkloadsRole() && isBound:
		return applyRoles
	case !isOwn && r.isOfWorkloadsRole():
		return fmt.Sprintf("kubectl -n %s create rolebinding tachometer-scaler --clusterrole=%s %s", r.Namespace, workloadsRole, subject)
	}
	return describeOwnRoleCommand(r, subject)
}

// isOfWorkloadsRole reports whether the shipped ClusterRole for workloads has the right.
func (r Right) isOfWorkloadsRole() bool {
	switch r.Group {
	case "apps":
		return r.Resource == "deployments" || r.Resource == "statefulsets"
	case "autoscaling", hold.GroupVersion.Group, custommetrics.GroupName, externalmetrics.GroupName:
		return r.Namespace != ""
	case "":
		return r.Resource == "pods" || r.Resource == "events"
	}
	return false
}

// isHoldList reports whether the right lists holds.
func (r Right) isHoldList() bool {
	return r.Group == hold.GroupVersion.Group && r.Subresource == "" && r.Verb == "list"
}

// describeOwnRoleCommand returns the commands that make a role with one right, and bind it.
func describeOwnRoleCommand(r Right, subject string) string {
	name, resource, in, kind := "tachometer-scaler-"+r.Verb+"-"+r.Resource, r.Resource, "-n "+r.Namespace+" ", "role"
	if r.Group != "" {
		resource += "." + r.Group
	}
	if r.Subresource != "" {
		name, resource = name+"-"+r.Subresource, resource+"/"+r.Subresource
	}
	if r.Namespace == "" {
		in, kind = "", "clusterrole"
	}
	object := ""
	if r.Name != "" {
		name, object = name+"-"+r.Name, " --resource-name="+r.Name
	}
	role := fmt.Sprintf("kubectl %screate %s %s --verb=%s --resource=%s%s", in, kind, name, r.Verb, resource, object)
	binding := strings.Replace(kind, "role", "rolebinding", 1)
	return fmt.Sprintf("%s && kubectl %screate %s %s --%s=%s %s", role, in, binding, name, kind, name, subject)
}
