// The resources of the API, as a generic API server serves them.

package explain

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// listedStorage serves one resource, read-only.
type listedStorage struct {
	singular string
	empty    runtime.Object
	list     func(ctx context.Context, namespace string) (runtime.Object, error)
	columns  []string
	row      func(runtime.Object) []any // the cells of an object; nil for an object of another kind
	wide     int                        // the last columns that kubectl shows with -o wide alone
}

// namedStorage is a resource with objects that are read by name too.
type namedStorage struct {
	listedStorage
	get func(ctx context.Context, key types.NamespacedName) (runtime.Object, error)
}

var (
	_ rest.Lister    = (*listedStorage)(nil)
	_ rest.Getter    = (*namedStorage)(nil)
	_ rest.Connecter = (*decisionStorage)(nil)
)

func (a *API) newHPAStorage() *namedStorage {
	return &namedStorage{
		listedStorage{
			"", &explainapi.Explanation{}, a.listHPAsWithStatus, []string{"Name", "Replicas", "Wanted", "Replica", "Known since"},
			func(o runtime.Object) []any {
				e, ok := o.(*explainapi.Explanation)
				if !ok {
					return nil
				}
				replicas, wanted := "<unknown>", "<unknown>"
				if e.Status != nil {
					replicas, wanted = fmt.Sprint(e.Status.CurrentReplicas), fmt.Sprint(e.Status.DesiredReplicas)
				}
				return []any{e.Name, replicas, wanted, e.Source.Replica, e.Source.UnknownBefore.Format(time.RFC3339)}
			},
			0,
		},
		func(ctx context.Context, key types.NamespacedName) (runtime.Object, error) {
			e, err := a.getMergedHPA(ctx, key)
			return e, err
		},
	}
}

func (a *API) newTargetStorage() *namedStorage {
	return &namedStorage{
		listedStorage{
			"target", &explainapi.Target{}, a.listTargetsOfNamespace, []string{"Name", "State", "Duration", "URL", "Error"},
			func(o runtime.Object) []any {
				t, ok := o.(*explainapi.Target)
				if !ok {
					return nil
				}
				return []any{t.Name, t.State, fmt.Sprintf("%dms", t.DurationMillis), t.URL, t.Error}
			},
			0,
		},
		func(ctx context.Context, key types.NamespacedName) (runtime.Object, error) {
			t, err := a.getTargetOfPod(ctx, key)
			return t, err
		},
	}
}

// exposedMetricStorage serves metrics, whose lists take a selector of pods.
type exposedMetricStorage struct {
	listedStorage
	api *API
}

var _ rest.Lister = (*exposedMetricStorage)(nil)

func (a *API) newExposedMetricStorage() *exposedMetricStorage {
	return &exposedMetricStorage{
		listedStorage{
			singular: "metric", empty: &explainapi.Metric{}, columns: []string{"Name", "Type", "Targets", "Demanded", "Metrics", "Help"}, wide: 1,
			row: func(o runtime.Object) []any {
				m, ok := o.(*explainapi.Metric)
				if !ok {
					return nil
				}
				return []any{plaintext.Clean(m.Name), cmp.Or(m.Type, "<none>"), m.Targets, m.DescribeDemands(), m.DescribeMetrics(), m.Help}
			},
		},
		a,
	}
}

// List returns the families of the pods that the label selector matches, in the request's namespace. A client that asks for pages gets all.
func (s *exposedMetricStorage) List(ctx context.Context, opts *internalversion.ListOptions) (runtime.Object, error) {
	selector := labels.Everything()
	if opts != nil {
		if opts.FieldSelector != nil && !opts.FieldSelector.Empty() {
			return nil, convertToStatusError(ctx, s.singular, metric.Errorf(metric.KindInvalid, "metrics have no fields to select by: select the pods by labels"))
		}
		if opts.LabelSelector != nil {
			selector = opts.LabelSelector
		}
	}
	list, err := s.api.listExposedFamilies(ctx, request.NamespaceValue(ctx), selector)
	return list, convertToStatusError(ctx, s.singular, err)
}

// New returns an empty object of the resource.
func (s *listedStorage) New() runtime.Object { return s.empty.DeepCopyObject() }

// NewList returns an empty list of the resource.
func (s *listedStorage) NewList() runtime.Object {
	switch s.empty.(type) {
	case *explainapi.Target:
		return &explainapi.TargetList{}
	case *explainapi.Metric:
		return &explainapi.MetricList{}
	}
	return &explainapi.ExplanationList{}
}

// Destroy does nothing: a storage owns no resources.
func (*listedStorage) Destroy() {}

// NamespaceScoped reports that the resource is namespaced.
func (*listedStorage) NamespaceScoped() bool { return true }

// GetSingularName returns the singular name. Autoscalers have none, lest `kubectl get horizontalpodautoscaler` mean an explanation.
func (s *listedStorage) GetSingularName() string { return s.singular }

// List returns the objects of the request's namespace. It does not select by labels or fields: the objects have none.
func (s *listedStorage) List(ctx context.Context, opts *internalversion.ListOptions) (runtime.Object, error) {
	if opts != nil && (opts.LabelSelector != nil && !opts.LabelSelector.Empty() || opts.FieldSelector != nil && !opts.FieldSelector.Empty()) {
		return nil, convertToStatusError(ctx, s.singular, metric.Errorf(metric.KindInvalid, "objects of this API have no labels and no fields to select by: read all, or one by name"))
	}
	list, err := s.list(ctx, request.NamespaceValue(ctx))
	return list, convertToStatusError(ctx, s.singular, err)
}

// ConvertToTable returns the table that kubectl get shows.
func (s *listedStorage) ConvertToTable(_ context.Context, object, opts runtime.Object) (*metav1.Table, error) {
	t := &metav1.Table{}
	if o, ok := opts.(*metav1.TableOptions); !ok || !o.NoHeaders {
		for i, name := range s.columns {
			c := metav1.TableColumnDefinition{Name: name, Type: "string"}
			if i == 0 {
				c.Format = "name"
			}
			if i >= len(s.columns)-s.wide {
				c.Priority = 1
			}
			t.ColumnDefinitions = append(t.ColumnDefinitions, c)
		}
	}
	add := func(o runtime.Object) error {
		if cells := s.row(o); cells != nil {
			t.Rows = append(t.Rows, metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Object: o}})
		}
		return nil
	}
	if !meta.IsListType(object) {
		return t, add(object)
	}
	return t, meta.EachListItem(object, add)
}

// Get returns an object by its name.
func (s *namedStorage) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	o, err := s.get(ctx, types.NamespacedName{Namespace: request.NamespaceValue(ctx), Name: name})
	if err != nil {
		return nil, convertToStatusError(ctx, name, err)
	}
	return o, nil
}

// decisionStorage serves the decisions of an autoscaler, as a subresource with a parameter.
type decisionStorage struct{ api *API }

// New returns an empty log.
func (*decisionStorage) New() runtime.Object { return &explainapi.DecisionLog{} }

// Destroy does nothing: a storage owns no resources.
func (*decisionStorage) Destroy() {}

// NewConnectOptions returns no options: Connect reads the parameter itself.
func (*decisionStorage) NewConnectOptions() (options runtime.Object, takesPath bool, pathName string) {
	return nil, false, ""
}

// ConnectMethods returns the methods of the subresource.
func (*decisionStorage) ConnectMethods() []string { return []string{http.MethodGet} }

// Connect returns a handler that answers with the log of an autoscaler.
func (s *decisionStorage) Connect(ctx context.Context, name string, _ runtime.Object, responder rest.Responder) (http.Handler, error) {
	key := types.NamespacedName{Namespace: request.NamespaceValue(ctx), Name: name}
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		log, err := s.readRequestedDecisionLog(r.Context(), key, r.URL.Query())
		if err != nil {
			responder.Error(convertToStatusError(r.Context(), name, err))
			return
		}
		responder.Object(http.StatusOK, log)
	}), nil
}

// readRequestedDecisionLog returns the log of an autoscaler, by the parameters of a request. Parts that repeat are left out of it.
func (s *decisionStorage) readRequestedDecisionLog(ctx context.Context, key types.NamespacedName, parameters url.Values) (*explainapi.DecisionLog, error) {
	span := time.Duration(0)
	if text := parameters.Get(explainapi.SinceParameter); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil || span <= 0 {
			return nil, metric.Errorf(metric.KindInvalid, "%s=%q: want a time span above 0, such as 30m or 1h", explainapi.SinceParameter, text)
		}
	}
	var log *explainapi.DecisionLog
	var err error
	switch scope := parameters.Get(explainapi.ScopeParameter); scope {
	case explainapi.ScopeReplica:
		log, err = s.api.readOwnDecisionLog(key, span)
	case "":
		log, err = s.api.readMergedDecisionLog(ctx, key, span)
	default:
		return nil, metric.Errorf(metric.KindInvalid, "%s=%q: want %s, or no %s for all replicas", explainapi.ScopeParameter, scope, explainapi.ScopeReplica, explainapi.ScopeParameter)
	}
	if err != nil || log == nil {
		return nil, orUnknownToReplica(err, "autoscaler", key)
	}
	log.Shorten()
	return log, nil
}

// reviewStorage answers reviews as they are created, and keeps none.
type reviewStorage struct{ api *API }

var _ rest.Creater = reviewStorage{} //nolint:misspell // the library spells it so

// New returns an empty review.
func (reviewStorage) New() runtime.Object { return &explainapi.RuleReview{} }

// Destroy does nothing: a storage owns no resources.
func (reviewStorage) Destroy() {}

// NamespaceScoped reports that reviews are namespaced.
func (reviewStorage) NamespaceScoped() bool { return true }

// GetSingularName returns the singular name.
func (reviewStorage) GetSingularName() string { return "rulereview" }

// Create answers a review. Dry runs get the same answer.
func (s reviewStorage) Create(ctx context.Context, object runtime.Object, validate rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	asked, ok := object.(*explainapi.RuleReview)
	if !ok {
		return nil, convertToStatusError(ctx, "rulereview", metric.Errorf(metric.KindInvalid, "the object is a %T, not a RuleReview", object))
	}
	if validate != nil {
		if err := validate(ctx, asked.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	namespace := request.NamespaceValue(ctx)
	status, err := s.api.reviewRule(ctx, namespace, asked.Spec)
	if err != nil {
		return nil, convertToStatusError(ctx, "rulereview", err)
	}
	answer := &explainapi.RuleReview{Spec: asked.Spec, Status: *status}
	answer.Namespace, answer.Name = namespace, asked.Name
	return answer, nil
}

// orUnknownToReplica returns err, or else that an object is not known to this replica.
func orUnknownToReplica(err error, noun string, key types.NamespacedName) error {
	if err != nil {
		return err
	}
	return metric.Errorf(metric.KindNotFound, "this replica knows no %s %s", noun, key)
}

// convertToStatusError returns err as a status; that of a request without a place stays as it is.
func convertToStatusError(ctx context.Context, subject string, err error) error {
	if apierrors.IsTooManyRequests(err) {
		return err
	}
	return apistatus.ToStatus(ctx, subject, err, nil)
}
