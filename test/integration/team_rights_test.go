package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bindPerson binds a ClusterRole to a user in a namespace.
func bindPerson(t *testing.T, namespace, user, role string) {
	t.Helper()
	_, err := client.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "person-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// mayDo asks the API server whether a user may do something, such as patch holds.scaler.tachometer.dev/status.
func mayDo(ctx context.Context, user, namespace, verb, resource string) (bool, error) {
	asked := authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb}
	resource, asked.Subresource, _ = strings.Cut(resource, "/")
	asked.Resource, asked.Group, _ = strings.Cut(resource, ".")
	review, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: user, Groups: []string{"system:authenticated"}, ResourceAttributes: &asked},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

const (
	holdsResource  = "holds.scaler.tachometer.dev"
	statusResource = "holds.scaler.tachometer.dev/status"
)

// TestTeamRights: the shipped ClusterRoles for people give a team the Holds of its namespace, and nothing else: no status, no other namespace, no other object. The
// built-in roles edit and view include them.
func TestTeamRights(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace, other := newNamespace(t), newNamespace(t)
	installScalerRights(t, namespace)
	for user, role := range map[string]string{"only-holds": "tachometer-holds-edit", "only-view": "tachometer-holds-view", "editor": "edit", "viewer": "view", "administrator": "admin"} {
		bindPerson(t, namespace, namespace+user, role)
	}
	eventually(t, 30*time.Second, func(ctx context.Context) error { // kube-controller-manager aggregates the roles
		for _, user := range []string{"editor", "administrator"} {
			if may, err := mayDo(ctx, namespace+user, namespace, "create", holdsResource); !may {
				return fmt.Errorf("%s may not create Holds: %w", user, err)
			}
		}
		return nil
	})
	all := []string{"create", "update", "patch", "delete", "get", "list", "watch"}
	write, read := all[:4], all[4:]
	for _, c := range []struct {
		user, namespace, resource string
		may, mayNot               []string
	}{
		{"only-holds", namespace, holdsResource, write, append([]string{"deletecollection"}, read...)},
		{"only-view", namespace, holdsResource, read, write},
		{"editor", namespace, holdsResource, all, []string{"deletecollection"}},
		{"viewer", namespace, holdsResource, read, write},
		{"administrator", namespace, holdsResource, all, nil},
		{"only-holds", namespace, statusResource, nil, []string{"update", "patch"}},
		{"editor", namespace, statusResource, nil, []string{"update", "patch"}},
		{"administrator", namespace, statusResource, nil, []string{"update", "patch"}},
		{"only-holds", other, holdsResource, nil, all},
		{"editor", other, holdsResource, nil, all},
		{"viewer", other, holdsResource, nil, all},
		{"only-holds", namespace, "deployments.apps", nil, all},
		{"only-holds", namespace, "deployments.apps/scale", nil, []string{"update", "patch"}},
		{"only-holds", namespace, "horizontalpodautoscalers.autoscaling", nil, all},
		{"only-holds", namespace, "configmaps", nil, all},
		{"only-holds", namespace, "secrets", nil, all},
		{"only-holds", namespace, "pods", nil, all},
	} {
		for may, verbs := range map[bool][]string{true: c.may, false: c.mayNot} {
			for _, verb := range verbs {
				if got, err := mayDo(t.Context(), namespace+c.user, c.namespace, verb, c.resource); err != nil || got != may {
					t.Errorf("%s may %s %s in %s: %v, %v; want %v", c.user, verb, c.resource, c.namespace, got, err, may)
				}
			}
		}
	}
}

// TestTeamCommands: a member of a team with the Holds of a namespace alone makes, approves, pauses, resumes and ends a hold there, and gets nowhere else. The controller
// acts, with the rights that the member does not have.
func TestTeamCommands(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace, other := newNamespace(t), newNamespace(t)
	installScalerRights(t, namespace)
	bindPerson(t, namespace, "jane", "tachometer-holds-edit")
	bindPerson(t, namespace, "jane", "tachometer-holds-view")
	newWorkload(t, namespace, true)
	program := buildScaler(t)
	before := mustReadWorld(t, namespace)
	startScalerWith(t, program, namespace, "apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\nnamespaces: [NAMESPACE]\n")
	apply := func(namespace string) ([]byte, error) {
		cmd := shared.KubectlCommand(t.Context(), "apply", "-f", "-", "--as", "jane")
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(launchHold, "NAMESPACE", namespace))
		return cmd.CombinedOutput()
	}
	if out, err := apply(namespace); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	awaitMinReplicas(t, namespace, 7)
	if err := createHold(t, namespace, "gated", mergeSpec(t, "{replicas: 3, gates: [sale], paused: true}"), false); err != nil {
		t.Fatal(err)
	}
	jane := &commandRun{t: t, program: program, namespace: namespace, more: []string{"--as", "jane", "-o", "text"}}
	jane.want(0, "deployment/shop", "status")
	jane.want(0, "paused", "pause", "deploy/shop", "--reason", "launch", "--for", "1d2h")
	awaitMinReplicas(t, namespace, before.MinReplicas)
	jane.want(0, "resumed", "resume", "deploy", "shop", "--reason", "launch")
	awaitMinReplicas(t, namespace, 7)
	jane.want(0, "approved", "approve", "deployment.apps/shop", "--reason", "gated")
	jane.want(1, "nothing to approve", "approve", "deploy/shop", "--reason", "launch")
	elsewhere := *jane
	elsewhere.namespace = other
	elsewhere.want(1, "forbidden", "status")
	elsewhere.want(1, "forbidden", "pause", "deploy/shop")
	if out, err := apply(other); err == nil || !strings.Contains(string(out), "forbidden") {
		t.Errorf("a Hold in another namespace: %v: %s", err, out)
	}
	status := shared.KubectlCommand(t.Context(), "-n", namespace, "patch", "hold", "launch", "--subresource=status", "--type=merge", "-p", `{"status":{"gateOpen":true}}`, "--as", "jane")
	if out, err := status.CombinedOutput(); err == nil || !strings.Contains(string(out), "forbidden") {
		t.Errorf("a status: %v: %s", err, out)
	}
	if out, err := shared.KubectlCommand(t.Context(), "-n", namespace, "delete", "hold", "launch", "gated", "--as", "jane", "--timeout=60s").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	awaitWorld(t, namespace, before)
}
