// The rights of the HPA controller and of the adapter, asked of kube-apiserver itself.

package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// hpaController is the ServiceAccount of the HPA controller.
const hpaController = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"

// neededRight is a right, with the command that gives it.
type neededRight struct {
	user, words, fix string
	attributes       authorizationv1.ResourceAttributes
}

// checkUserRights asks for each right that the chain needs. Without the right to ask, one line says so.
func (d *doctor) checkUserRights(ctx context.Context) {
	rights := append(d.listHPAControllerRights(), d.listAdapterRights()...)
	var missing, granted int
	for _, r := range rights {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: r.user, Groups: listServiceAccountGroups(r.user), ResourceAttributes: &r.attributes,
		}}
		answer, err := d.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			d.addDoctorCheck("rights", "", StatusUnread, err.Error(), "")
			return
		}
		if answer.Status.Allowed {
			granted++
			continue
		}
		missing++
		d.addDoctorCheck("rights", r.user, StatusFail, "may not "+r.words, r.fix)
	}
	switch {
	case len(d.adapter.pods) == 0:
		d.addDoctorCheck("rights", "", StatusUnread, "the adapter's rights: its pods, and so its ServiceAccount, are unknown", "")
	case missing == 0:
		d.addDoctorCheck("rights", "", StatusOK, fmt.Sprintf("the HPA controller and the adapter have all %d rights that they need", granted), "")
	}
}

// listHPAControllerRights returns a right for each metrics API that the chosen autoscalers of each namespace use.
func (d *doctor) listHPAControllerRights() []neededRight {
	rights := map[string]neededRight{}
	for _, hpa := range d.hpas {
		for _, m := range hpa.Spec.Metrics {
			r := d.newHPAControllerRight(hpa.Namespace, m)
			key := hpa.Namespace + "/" + r.attributes.Group
			if _, known := rights[key]; !known && r.attributes.Group != "" {
				rights[key] = r
			}
		}
	}
	var list []neededRight
	for _, key := range slices.Sorted(maps.Keys(rights)) {
		list = append(list, rights[key])
	}
	return list
}

// newHPAControllerRight returns the right to read a metric, as kube-apiserver sees the request.
func (d *doctor) newHPAControllerRight(namespace string, m autoscalingv2.MetricSpec) neededRight {
	attributes := authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "get", Version: "*", Group: reading.CustomGroup}
	switch {
	case m.Pods != nil:
		attributes.Resource, attributes.Name, attributes.Subresource = "pods", "*", m.Pods.Metric.Name
	case m.Object != nil:
		plural, err := d.Metrics.FindResource(m.Object.DescribedObject)
		if err != nil {
			return neededRight{} // the read of the metric says so
		}
		attributes.Resource, attributes.Name, attributes.Subresource = plural, m.Object.DescribedObject.Name, m.Object.Metric.Name
	case m.External != nil:
		attributes.Group, attributes.Verb, attributes.Resource = reading.ExternalGroup, "list", m.External.Metric.Name
	case m.Resource != nil, m.ContainerResource != nil:
		attributes.Group, attributes.Verb, attributes.Resource = reading.ResourceGroup, "list", "pods"
	default:
		return neededRight{}
	}
	return neededRight{
		user: hpaController, attributes: attributes,
		words: fmt.Sprintf("%s %s in %s", attributes.Verb, attributes.Group, namespace),
		fix:   formatHPAControllerGrant(attributes.Group, "--serviceaccount=kube-system:horizontal-pod-autoscaler"),
	}
}

// formatHPAControllerGrant returns the command that gives a subject the right to read a metrics API.
func formatHPAControllerGrant(group, subject string) string {
	name, role := "hpa-metrics", "tachometer-metrics-reader"
	if group == reading.ResourceGroup {
		name, role = "hpa-resource-metrics", "system:aggregated-metrics-reader"
	}
	return "kubectl create clusterrolebinding " + name + " --clusterrole=" + role + " " + subject
}

// listAdapterRights returns the rights that the adapter needs to find pods and to recognise callers.
func (d *doctor) listAdapterRights() []neededRight {
	if len(d.adapter.pods) == 0 {
		return nil // its ServiceAccount is unknown
	}
	account := d.adapter.pods[0].Spec.ServiceAccountName
	user := "system:serviceaccount:" + d.adapter.namespace + ":" + account
	binding := func(name, role string) string {
		return fmt.Sprintf("kubectl create clusterrolebinding %s --clusterrole=%s --serviceaccount=%s:%s", name, role, d.adapter.namespace, account)
	}
	own := binding(account, "tachometer-adapter")
	delegator := binding(account+"-auth-delegator", "system:auth-delegator")
	reader := fmt.Sprintf("kubectl -n kube-system create rolebinding %s-authentication-reader --role=extension-apiserver-authentication-reader --serviceaccount=%s:%s",
		account, d.adapter.namespace, account)
	return []neededRight{
		{user, "list pods", own, authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods"}},
		{user, "list horizontalpodautoscalers", own, authorizationv1.ResourceAttributes{Verb: "list", Group: "autoscaling", Resource: "horizontalpodautoscalers"}},
		{user, "get deployments/scale", own, authorizationv1.ResourceAttributes{Verb: "get", Group: "apps", Resource: "deployments", Subresource: "scale"}},
		{user, "create tokenreviews (auth-delegator)", delegator,
			authorizationv1.ResourceAttributes{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"}},
		{user, "create subjectaccessreviews (auth-delegator)", delegator,
			authorizationv1.ResourceAttributes{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews"}},
		{user, "get configmap kube-system/extension-apiserver-authentication (auth-reader)", reader, authorizationv1.ResourceAttributes{
			Verb: "get", Namespace: "kube-system", Resource: "configmaps", Name: "extension-apiserver-authentication",
		}},
	}
}

// listServiceAccountGroups returns the groups of a ServiceAccount's user, system:serviceaccount:NAMESPACE:NAME.
func listServiceAccountGroups(user string) []string {
	namespace, _, _ := strings.Cut(strings.TrimPrefix(user, "system:serviceaccount:"), ":")
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
}
