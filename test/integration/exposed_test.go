package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// listAs lists the metrics of a namespace as a user whom kube-apiserver impersonates.
func listAs(ctx context.Context, user, namespace, query string) (*explainapi.MetricList, error) {
	path := "/apis/" + explainapi.GroupVersion.String() + "/namespaces/" + namespace + "/metrics" + query
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, admin.host+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Impersonate-User", user)
	response, err := admin.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.300s", response.Status, body)
	}
	if err != nil {
		return nil, err
	}
	list := &explainapi.MetricList{}
	return list, json.Unmarshal(body, list)
}

// describeMetrics returns the items of a list in lines, without those of the program itself.
func describeMetrics(list *explainapi.MetricList) string {
	var lines []string
	for i := range list.Items {
		m := &list.Items[i]
		lines = append(lines, fmt.Sprintf("%s %s %d %s %s", m.Name, m.Type, m.Targets, m.DescribeMetrics(), m.DescribeDemands()))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestExposedMetrics: who may view a namespace sees the families that its pods expose before anybody demands one of them, without a right to
// read pages and without a value; others see nothing, and pods that are not to be scraped are not read.
func TestExposedMetrics(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	const text = "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\nhttp_requests_total{tenant=\"secret-label\"} 987654\n" +
		"# HELP depth Jobs \x1b[2Jthat wait.\n# TYPE depth gauge\ndepth 3\n# TYPE took_seconds histogram\ntook_seconds_bucket{le=\"+Inf\"} 1\ntook_seconds_sum 1\ntook_seconds_count 1\n"
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	newPod(t, namespace, "web-1", map[string]string{"app": "web"}, page)
	newPod(t, namespace, "broken", map[string]string{"app": "broken"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	const viewer = "ann"
	if _, err := client.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "viewer"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: viewer}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	const want = "depth gauge 1 depth <none>\nhttp_requests_total counter 1 request_per_second,http_requests_per_second <none>\n" +
		"took_seconds histogram 1 took_seconds_sum_per_second,took_seconds_count_per_second,took_seconds_p50,took_seconds_p90,took_seconds_p95,took_seconds_p99 <none>"
	eventually(t, time.Minute, func(ctx context.Context) error {
		list, err := listAs(ctx, viewer, namespace, "")
		if err != nil {
			return err
		}
		data, err := json.Marshal(list)
		switch got := describeMetrics(list); {
		case err != nil:
			return err
		case got != want || len(list.Pages) != 2:
			return fmt.Errorf("lists\n%s\nwant\n%s\npages %+v", got, want, list.Pages)
		case list.Pages[0].Error != "HTTP 503" || list.Source.Replica == "":
			return fmt.Errorf("pages %+v of %+v", list.Pages, list.Source)
		case strings.Contains(string(data), "secret-label") || strings.Contains(string(data), "987654") || strings.Contains(list.Items[0].Help, "\x1b"):
			return fmt.Errorf("a label, a value or a control character is listed: %s", data)
		}
		return nil
	})
	if _, err := listAs(t.Context(), "bob", namespace, ""); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a user without rights: %v, want 403", err)
	}
	list, err := listAs(t.Context(), viewer, namespace, "?labelSelector=app%3Dweb")
	if err != nil || len(list.Pages) != 1 || list.Pages[0].Pod != "web-1" {
		t.Errorf("selected: %+v, error %v", list, err)
	}
	if _, err := admin.raw(t.Context(), podsPath(namespace, requests, "app=web", "")); err != nil { // the reader's demand makes it a demanded one
		t.Log("the first read:", err)
	}
	eventually(t, time.Minute, func(ctx context.Context) error {
		list, err := listAs(ctx, viewer, namespace, "")
		if err == nil && !strings.Contains(describeMetrics(list), "http_requests_total counter 1 request_per_second,http_requests_per_second reader") {
			err = fmt.Errorf("no demand in\n%s", describeMetrics(list))
		}
		return err
	})
}
