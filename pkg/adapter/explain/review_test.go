package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

const reviewedHead = "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules:\n"

const reviewedQueueRule = reviewedHead + "- metric: jobs_waiting\n  query: sum by (namespace, pod) (jobs_waiting_total_now)\n"

// reviewedShop has the pods web-1 and web-2 of namespace shop, and a pod of another namespace. Families are scraped once a review demands
// them. Its zero value scrapes nothing.
type reviewedShop struct {
	now func() time.Time

	mu      sync.Mutex // guards the rest
	demands []discovery.Demand
	queries []rule.Query
	slow    bool // an evaluation lasts until its context ends
}

func (s *reviewedShop) allPods() []discovery.Pod {
	var pods []discovery.Pod
	for _, name := range []string{"web-1", "web-2"} {
		pods = append(pods, discovery.Pod{Namespace: "shop", Name: name, Live: true, Ready: true, Created: s.now().Add(-time.Hour), Started: s.now().Add(-time.Hour)})
	}
	return append(pods, discovery.Pod{Namespace: "bank", Name: "vault-1", Live: true, Ready: true, Created: s.now().Add(-time.Hour), Started: s.now().Add(-time.Hour)})
}

func (s *reviewedShop) Pods(namespace string, selector labels.Selector) []discovery.Pod {
	return slices.DeleteFunc(s.allPods(), func(p discovery.Pod) bool {
		return namespace != "" && p.Namespace != namespace || !selector.Matches(labels.Set{"app": "web"})
	})
}

func (s *reviewedShop) PodsOf(_ context.Context, resource schema.GroupResource, object metric.Object) ([]discovery.Pod, error) {
	if resource.Resource == "namespaces" {
		return s.Pods(object.Name, labels.Everything()), nil
	}
	return s.Pods(object.Namespace, labels.Everything()), nil
}

func (s *reviewedShop) Pod(namespace, name string) (discovery.Pod, bool) {
	for _, p := range s.allPods() {
		if p.Namespace == namespace && p.Name == name {
			return p, true
		}
	}
	return discovery.Pod{}, false
}

func (*reviewedShop) Explain(string, string) metric.Omission { return metric.Omission{} }

func (s *reviewedShop) Demand(d discovery.Demand) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.demands = append(s.demands, d)
	return nil
}

func (s *reviewedShop) Demanded() []discovery.Demand {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.demands)
}

func (s *reviewedShop) scrapes(families []string) bool {
	for _, d := range s.Demanded() {
		demanded, _ := ReviewedFamilies(d.Metric)
		if slices.Equal(demanded, families) {
			return true
		}
	}
	return false
}

func (s *reviewedShop) Diagnose(_, pod string, families []string) metric.Omission {
	switch {
	case !s.scrapes(families):
		return metric.Omission{Reason: metric.ReasonWarmingUp}
	case pod == "web-2":
		return metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: "connection refused"}
	}
	return metric.Omission{}
}

func (*reviewedShop) FamilyType(string, string, string) (model.MetricType, bool) { return "", false }

func (*reviewedShop) CountsUnseen(string, string) bool              { return false }
func (*reviewedShop) UnseenPods() map[metric.Object]metric.TimeSpan { return nil }
func (*reviewedShop) SilentSince(string, string) (time.Time, bool)  { return time.Time{}, false }

func (*reviewedShop) HeldCounts(string, string, []string) float64 { return 0 }

func (*reviewedShop) Decreases(string, string, []string) bool { return false }
func (*reviewedShop) RejectedSince(string, string, []string) (time.Time, bool) {
	return time.Time{}, false
}

// Evaluate has a value of web-1, two seconds old, once its families are scraped.
func (s *reviewedShop) Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error) {
	s.mu.Lock()
	s.queries = append(s.queries, q)
	slow := s.slow
	s.mu.Unlock()
	if slow {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !s.scrapes(q.Rule.Families()) {
		return nil, nil
	}
	v := metric.Value{Value: 12.5, Time: now.Add(-2 * time.Second), Window: 10 * time.Second, Object: metric.Object{Namespace: "shop", Name: "web-1"}}
	if q.Rule.External {
		v.Object, v.Labels = metric.Object{}, map[string]string{"queue": "orders"}
	}
	return []metric.Value{v}, nil
}

func (s *reviewedShop) readingDeps() provider.Deps {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, meta.RESTScopeNamespace)
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, meta.RESTScopeRoot)
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Node"}, meta.RESTScopeRoot)
	mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	return provider.Deps{
		Backend: func(name string) (provider.Backend, bool) { return s, name == config.ScrapeBackend },
		Pods:    s, Targets: s, Demands: s, Scrapes: s, Mapper: mapper, Now: s.now,
	}
}

func newReviewAPI(s *reviewedShop) *API { return New(s.newReviewDeps()) }

func (s *reviewedShop) newReviewDeps() Deps {
	running := config.Default()
	return Deps{Replica: "adapter-1", Now: s.now, Reading: s.readingDeps(), Config: func() *config.Config { return &running }}
}

// newUnhurriedAPI returns the API without timeouts of reviews, for tests under the clock of a busy machine.
func newUnhurriedAPI(deps Deps) *API {
	api := New(deps)
	api.reviews.timeout, api.reviews.stepTimeout = time.Hour, time.Hour
	return api
}

// newReviewerContext is the context of a person's request.
func newReviewerContext(t *testing.T) context.Context {
	t.Helper()
	return apirequest.WithUser(t.Context(), &user.DefaultInfo{Name: "jane"})
}

// postReview creates a review over HTTP, and returns the code and the answer, or the message of the failure.
func postReview(t *testing.T, url string, spec explainapi.RuleReviewSpec) (code int, review explainapi.RuleReview, message string) {
	t.Helper()
	sent := explainapi.RuleReview{Spec: spec}
	sent.APIVersion, sent.Kind = explainapi.GroupVersion.String(), "RuleReview"
	body, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	code, answer := sendJSONRequest(t, http.MethodPost, url, "application/json", string(body))
	if code >= http.StatusBadRequest {
		var status metav1.Status
		if err := json.Unmarshal([]byte(answer), &status); err != nil {
			t.Fatalf("%v: %s", err, answer)
		}
		return code, review, status.Message
	}
	if err := json.Unmarshal([]byte(answer), &review); err != nil {
		t.Fatal(err)
	}
	return code, review, ""
}

// TestReview: a created review is answered with the values of the namespace's pods, the omissions with their reasons, and faults with the
// lines of the file.
func TestReview(t *testing.T) {
	t.Parallel()
	shop := &reviewedShop{now: func() time.Time { return noon }}
	shop.demands = []discovery.Demand{{Resource: "pods", Namespace: "shop", Metric: reviewedDemandPrefix + "jobs_waiting_total_now", Selector: labels.SelectorFromSet(labels.Set{"app": "web"})}}
	url := serveAPIOverHTTP(t, newUnhurriedAPI(shop.newReviewDeps())) + "/namespaces/shop/rulereviews"
	code, review, message := postReview(t, url, explainapi.RuleReviewSpec{Config: reviewedQueueRule, Selector: "app=web"})
	if code != http.StatusCreated || review.Kind != "RuleReview" || review.Namespace != "shop" || review.ManagedFields != nil {
		t.Fatalf("%d %s: %+v", code, message, review)
	}
	want := explainapi.RuleReviewStatus{
		Source: explainapi.Source{Replica: "adapter-1", Time: noon}, Metric: "jobs_waiting", Resource: "pods", Families: []string{"jobs_waiting_total_now"},
		Values:  []explainapi.ReviewedValue{{Object: "web-1", Milli: 12_500, Time: noon.Add(-2 * time.Second), WindowSeconds: 10}},
		Omitted: []explainapi.Omission{{Pod: "web-2", Reason: "scrape_failed", Detail: "connection refused"}},
	}
	if diff := cmp.Diff(want, review.Status); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, q := range shop.queries {
		if expr := q.Expr(time.Minute, nil); q.Namespace != "shop" || !strings.Contains(expr, `namespace="shop"`) {
			t.Errorf("evaluates %s in namespace %q", expr, q.Namespace)
		}
	}
	faulty := reviewedHead + "- metric: jobs_waiting\n  query: sum(jobs_waiting_total_now)\n  windw: 5s\n"
	if code, review, _ = postReview(t, url, explainapi.RuleReviewSpec{Config: faulty}); code != http.StatusCreated {
		t.Fatalf("a faulty rule: code %d", code)
	}
	_, _, checked := rule.Load([]byte(faulty))
	var faults config.Faults
	if !errors.As(checked, &faults) || len(faults) != 2 {
		t.Fatalf("--check-config finds %v", checked)
	}
	for i, f := range faults {
		if got := review.Status.Faults[i]; got.Line != f.Line || got.Path != f.Path || got.Message != f.Message {
			t.Errorf("fault %+v, want that of --check-config: %+v", got, f)
		}
	}
	if code, _ := getDecodedAnswer(t, url, "application/json", nil); code != http.StatusMethodNotAllowed {
		t.Errorf("a list of reviews: code %d", code)
	}
}

// TestReviewRejections: a request for anything but the values of the namespace's own pods, and one beyond the bounds, is rejected with
// the reason.
func TestReviewRejections(t *testing.T) {
	t.Parallel()
	external := reviewedHead + "- metric: orders\n  external: true\n  query: sum(orders)\n"
	remote := "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nbackends:\n- name: prometheus\n  url: http://prometheus\nrules:\n" +
		"- metric: orders\n  backend: prometheus\n  query: sum by (namespace, pod) (orders)\n"
	for name, tc := range map[string]struct {
		spec explainapi.RuleReviewSpec
		want string
	}{
		"no rule":             {explainapi.RuleReviewSpec{}, "400 spec.config: required: the text of an adapter configuration with the rule"},
		"too long":            {explainapi.RuleReviewSpec{Config: strings.Repeat("#", maxReviewedConfigBytes+1)}, "400 spec.config: has 16385 bytes, and a review takes 16384; leave out the rules that are not reviewed"},
		"selector":            {explainapi.RuleReviewSpec{Config: reviewedQueueRule, Selector: "app==="}, "400 spec.selector: "},
		"metric selector":     {explainapi.RuleReviewSpec{Config: reviewedQueueRule, MetricSelector: "("}, "400 spec.metricSelector: "},
		"a long metric":       {explainapi.RuleReviewSpec{Config: reviewedQueueRule, Metric: strings.Repeat("x", 254)}, "400 spec.metric: has 254 bytes; the limit is 253"},
		"a long resource":     {explainapi.RuleReviewSpec{Config: reviewedQueueRule, Resource: strings.Repeat("x", 254)}, "400 spec.resource: has 254 bytes; the limit is 253"},
		"a long object":       {explainapi.RuleReviewSpec{Config: reviewedQueueRule, Object: strings.Repeat("x", 254)}, "400 spec.object: has 254 bytes; the limit is 253"},
		"a long selector":     {explainapi.RuleReviewSpec{Config: reviewedQueueRule, Selector: strings.Repeat("x", 4097)}, "400 spec.selector: has 4097 bytes; the limit is 4096"},
		"a long set":          {explainapi.RuleReviewSpec{Config: reviewedQueueRule, MetricSelector: "a in (" + strings.Repeat("x,", 2100) + "x)"}, "400 spec.metricSelector: has 4208 bytes; the limit is 4096"},
		"another metric":      {explainapi.RuleReviewSpec{Config: reviewedQueueRule, Metric: "jobs_waitin"}, `404 no rule for metric "jobs_waitin" on pods; nearest: jobs_waiting`},
		"two metrics":         {explainapi.RuleReviewSpec{Config: reviewedQueueRule + "- metric: other\n  query: sum by (namespace, pod) (other)\n"}, "400 spec.metric: required: the configuration has the metrics jobs_waiting, other"},
		"a pattern":           {explainapi.RuleReviewSpec{Config: reviewedHead + "- match: ^(.+)_now$\n  query: sum by (namespace, pod) ({__name__=\"${1}\"})\n"}, "400 spec.metric: required: the configuration has no rule with a name"},
		"all namespaces":      {explainapi.RuleReviewSpec{Config: external + "  from: all\n"}, `400 rule "orders" reads the pods of other namespaces than shop; a review reads only those of its own`},
		"another namespace":   {explainapi.RuleReviewSpec{Config: external + "  from: [bank]\n"}, `400 rule "orders" reads the pods of other namespaces than shop`},
		"its and another":     {explainapi.RuleReviewSpec{Config: external + "  from: [shop, bank]\n"}, `400 rule "orders" reads the pods of other namespaces than shop`},
		"none":                {explainapi.RuleReviewSpec{Config: external + "  namespaced: none\n"}, "201 "},
		"a node":              {explainapi.RuleReviewSpec{Config: reviewedHead + "- metric: load\n  resource: nodes\n  query: sum by (node) (load)\n", Object: "n1"}, `400 rule "load" reads the pods of other namespaces than shop`},
		"a node's pods":       {explainapi.RuleReviewSpec{Config: reviewedQueueRule, Resource: "nodes", Object: "n1"}, "201 "},
		"a server":            {explainapi.RuleReviewSpec{Config: remote}, `400 rule "orders" asks the backend "prometheus": a review computes on the pods that the adapter scrapes; ask that server itself`},
		"an external object":  {explainapi.RuleReviewSpec{Config: external, External: true, Object: "x"}, "400 spec.external: an external metric describes no object; remove resource, object and selector"},
		"deployments in bulk": {explainapi.RuleReviewSpec{Config: reviewedQueueRule, Resource: "deployments.apps"}, "400 spec.object: required: the name of one of deployments.apps"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := &reviewedShop{now: func() time.Time { return noon }}
			url := serveAPIOverHTTP(t, newUnhurriedAPI(shop.newReviewDeps())) + "/namespaces/shop/rulereviews"
			code, review, message := postReview(t, url, tc.spec)
			if got := fmt.Sprintf("%d %s", code, message); !strings.HasPrefix(got, tc.want) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if code == http.StatusCreated && (review.Status.Error == "" && review.Status.Faults == nil || len(review.Status.Values) > 0) {
				t.Errorf("status %+v", review.Status)
			}
			for _, q := range shop.queries {
				t.Errorf("evaluates %s", q.Expr(time.Minute, nil))
			}
		})
	}
}

// TestReviewOfNamespaceObject: the object of a review of namespaces is always its own namespace.
func TestReviewOfNamespaceObject(t *testing.T) {
	t.Parallel()
	shop := &reviewedShop{now: func() time.Time { return noon }}
	shop.demands = []discovery.Demand{{Metric: reviewedDemandPrefix + "jobs_waiting_total_now"}}
	spec := explainapi.RuleReviewSpec{Config: reviewedQueueRule, Resource: "namespaces", Object: "bank"}
	status, err := newUnhurriedAPI(shop.newReviewDeps()).reviewRule(t.Context(), "shop", spec)
	if err != nil || len(status.Omitted) == 0 || len(shop.queries) == 0 {
		t.Fatalf("%v: %+v", err, status)
	}
	for _, o := range status.Omitted {
		if o.Pod == "vault-1" {
			t.Error("an omission of another namespace")
		}
	}
	for _, q := range shop.queries {
		if slices.Contains(q.Objects, "vault-1") {
			t.Errorf("evaluates a pod of another namespace: %v", q.Objects)
		}
	}
}

// TestReviewWaits: a review of families that are not scraped yet demands them, and waits for two scrapes.
func TestReviewWaits(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"pods":     reviewedQueueRule,
		"external": reviewedHead + "- metric: orders\n  external: true\n  query: sum by (queue) (jobs_waiting_total_now)\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shop := &reviewedShop{now: time.Now}
				api := newReviewAPI(shop)
				began := time.Now()
				status, err := api.reviewRule(newReviewerContext(t), "shop", explainapi.RuleReviewSpec{Config: config})
				if err != nil || len(status.Values) != 1 || status.External != (name == "external") {
					t.Fatalf("%v: %+v", err, status)
				}
				if waited := time.Since(began); waited == 0 || waited > 5*time.Second {
					t.Errorf("waited %s", waited)
				}
				if d := shop.Demanded()[0]; d.Namespace != "shop" || d.Metric != "families/jobs_waiting_total_now" || d.Standing {
					t.Errorf("demand %+v", d)
				}
			})
		})
	}
}

// TestReviewIsBounded: an evaluation that takes too long is cut short, and a namespace beyond its rate gets 429, while others go on.
func TestReviewIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := &reviewedShop{now: time.Now, slow: true}
		api, spec := newReviewAPI(shop), explainapi.RuleReviewSpec{Config: reviewedQueueRule}
		began := time.Now()
		status, err := api.reviewRule(newReviewerContext(t), "shop", spec)
		if err != nil || status.Error != "to evaluate the query takes longer than 1s; make its subqueries shorter or coarser" || time.Since(began) != reviewStepTimeout {
			t.Fatalf("after %s: %v, %+v", time.Since(began), err, status)
		}
		shop.slow = false
		for range reviewBurst {
			if _, err = api.reviewRule(t.Context(), "shop", spec); err != nil {
				break
			}
		}
		if !apierrors.IsTooManyRequests(err) {
			t.Errorf("beyond the burst: %v", err)
		}
		if _, err := api.reviewRule(t.Context(), "bank", spec); err != nil {
			t.Errorf("another namespace: %v", err)
		}
		time.Sleep(reviewPause) //nolint:forbidigo // in a synctest bubble
		if _, err := api.reviewRule(t.Context(), "shop", spec); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

// TestReviewPlaces: a namespace holds two places at a time, all together sixteen, and each comes back.
func TestReviewPlaces(t *testing.T) {
	t.Parallel()
	l := newReviewLimits()
	var free []func()
	take := func(namespace string) bool {
		f, err := l.takeRequestPlace(namespace)
		if err == nil {
			free = append(free, f)
		}
		return err == nil
	}
	for i := range maxReviews / maxNamespaceReviews {
		namespace := fmt.Sprint("ns-", i)
		got := []bool{take(namespace), take(namespace), take(namespace)}
		if !slices.Equal(got, []bool{true, true, false}) {
			t.Fatalf("namespace %d has not two places", i)
		}
	}
	if take("one-more") {
		t.Error("a place beyond all")
	}
	for _, f := range free {
		f()
	}
	if l.total != 0 || len(l.running) != 0 || !take("one-more") {
		t.Errorf("after all are free: %d, %v", l.total, l.running)
	}
}

// TestCostlyReviews: a text that would cost much to check has its fault at once, and takes its turn, as its values do. An evaluation is
// marked as that of a review.
func TestCostlyReviews(t *testing.T) {
	t.Parallel()
	shop := &reviewedShop{now: func() time.Time { return noon }}
	shop.demands = []discovery.Demand{{Metric: reviewedDemandPrefix + "jobs_waiting_total_now"}}
	api := newUnhurriedAPI(shop.newReviewDeps())
	costly := reviewedHead + "- metric: jobs\n  query: sum by (namespace, pod) (a{x=~\"" + strings.Repeat("a{1000}", 30) + "\"})\n"
	status, err := api.reviewRule(t.Context(), "shop", explainapi.RuleReviewSpec{Config: costly})
	if err != nil || len(status.Faults) != 1 || !strings.HasPrefix(status.Faults[0].Message, "the regular expressions up to this rule are too large") || status.Faults[0].Line != 5 {
		t.Errorf("%v: %+v", err, status)
	}
	if _, err := api.reviewRule(t.Context(), "shop", explainapi.RuleReviewSpec{Config: reviewedQueueRule}); err != nil || len(shop.queries) != 1 || !shop.queries[0].Reviewed {
		t.Errorf("%v: evaluates %+v", err, shop.queries)
	}
	api.reviews.step <- struct{}{} // another review computes
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := api.reviewRule(ended, "shop", explainapi.RuleReviewSpec{Config: "{"}); metric.KindOf(err) != metric.KindUnavailable {
		t.Errorf("a text is decoded beside another review: %v", err)
	}
}

// TestReviewFollowsRunningIntervals: a text without intervals is checked by those of the running configuration, at its own lines.
func TestReviewFollowsRunningIntervals(t *testing.T) {
	t.Parallel()
	running := config.Default()
	running.Scrape.Interval, running.MaxWindow, running.MaxAge = 15*time.Second, 10*time.Minute, 75*time.Second
	shop := &reviewedShop{now: func() time.Time { return noon }}
	api := newUnhurriedAPI(Deps{Replica: "adapter-1", Now: shop.now, Reading: shop.readingDeps(), Config: func() *config.Config { return &running }})
	text := reviewedHead + "- metric: jobs\n  query: sum by (namespace, pod) (rate(jobs_total[$window]))\n  window: "
	for window, want := range map[string]string{
		"5m":  "",
		"15m": "line 6: rules[0].window: 15m is longer than maxWindow 10m; raise maxWindow or shorten the window",
		"20s": "line 6: rules[0].window: 20s is shorter than 2 scrape intervals (30s), the minimum for a rate",
	} {
		r, err := newRuleReview("shop", explainapi.RuleReviewSpec{Config: text + window})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := api.compileReviewedRules(t.Context(), r); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("window %s: %s, want %s", window, got, want)
		}
	}
}

// TestAliasesOfReviews: a text of few bytes whose aliases stand for themselves, or for millions of values, is a fault at once.
func TestAliasesOfReviews(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"of itself":     "backends: [{name: a, url: 'http://a', http: &x {basic_auth: *x}}]\nrules: []",
		"of long lists": "rules: [&r {metric: m, query: up, external: true, from: &names [" + strings.Repeat("_,", 2500) + "_]}" + strings.Repeat(", *r", 1500) + "]",
	} {
		running := config.Default()
		_, faults, err := compileReviewedText(t.Context(), text, &running)
		if err != nil || len(faults) != 1 || !strings.Contains(faults.Error(), "aliases") {
			t.Errorf("%s: %d faults, %v; want one about the aliases", name, len(faults), err)
		}
	}
}

// FuzzReviewedText compiles texts of reviewers: each is taken, or has faults or an error.
func FuzzReviewedText(f *testing.F) {
	f.Add(reviewedQueueRule)
	f.Add(reviewedHead + "- {match: '^(.+)_per_second$', query: 'sum by (namespace, pod) (rate({__name__=\"${1}_total\"}[$window]))'}")
	f.Add("backends: [{name: a, url: 'http://a', http: &x {basic_auth: *x}}]")
	f.Add("{rules: [{metric: m, query: up}]}")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxReviewedConfigBytes {
			return
		}
		running := config.Default()
		rules, faults, err := compileReviewedText(t.Context(), text, &running)
		if err == nil && len(faults) == 0 && rules == nil {
			t.Errorf("%q: no rules, and no fault", text)
		}
	})
}
