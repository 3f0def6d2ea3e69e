// Requests in flight: HPAs, readers and strangers have places of their own.

package apiserver

import (
	"context"
	"net/http"
	"slices"
	"time"

	flowcontrol "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/mux"
	utilflowcontrol "k8s.io/apiserver/pkg/util/flowcontrol"
	fq "k8s.io/apiserver/pkg/util/flowcontrol/fairqueuing"
	fcrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"
)

// requestLanes bound the authenticated requests in flight in three lanes, so that no lane takes the places of another:
// autoscaling for HPAs and kube-apiserver itself, readers, and strangers. A stranger is a caller without any right: anonymous, or
// denied a short time ago.
//
// It takes the place of API priority and fairness in the library's handler chain. The original would need the right to read
// the cluster's flow schemas, and could not tell a stranger from a reader.
type requestLanes struct {
	autoscalers                     []string // user names
	open                            pathMatcher
	autoscaling, readers, strangers *requestLane
	denied                          *cache.LRUExpireCache // user names of strangers
	metrics                         *metrics
}

var _ utilflowcontrol.Interface = (*requestLanes)(nil)

// requestLane is a number of places, of which one caller may hold a part. Responses carry its name in the headers in which kube-apiserver names a priority level.
type requestLane struct {
	places *addressPlaces
	reason string // of its rejections, as a label value
	schema flowcontrol.FlowSchema
	level  flowcontrol.PriorityLevelConfiguration
}

func newRequestLane(name, reason string, places, perCaller int) *requestLane {
	meta := metav1.ObjectMeta{Name: name, UID: types.UID(name)}
	return &requestLane{
		places: newClientAddressPlaces(places, perCaller), reason: reason,
		schema: flowcontrol.FlowSchema{ObjectMeta: meta}, level: flowcontrol.PriorityLevelConfiguration{ObjectMeta: meta},
	}
}

const (
	// strangerTime is for how long a denied request makes its caller a stranger.
	strangerTime = 10 * time.Second
	// maxStrangers bounds the callers remembered as strangers; beyond it, the one denied first is a reader again.
	maxStrangers = 4096
)

func newRequestLanes(autoscalers []string, open pathMatcher, limits serverLimits, m *metrics) *requestLanes {
	return &requestLanes{
		autoscalers: autoscalers, open: open, metrics: m,
		autoscaling: newRequestLane("tachometer-autoscaling", reasonAutoscaling, limits.autoscaling, limits.autoscaling),
		readers:     newRequestLane("tachometer-readers", reasonReaders, limits.readers, max(1, limits.readers/3)),
		strangers:   newRequestLane("tachometer-strangers", reasonStrangers, limits.strangers, max(1, limits.strangers/3)),
		denied:      cache.NewLRUExpireCache(maxStrangers),
	}
}

// Handle runs execute in the lane of the caller, or not at all if the lane is full. The library then responds with 429.
func (l *requestLanes) Handle(_ context.Context, digest utilflowcontrol.RequestDigest,
	note func(*flowcontrol.FlowSchema, *flowcontrol.PriorityLevelConfiguration, string),
	_ func() fcrequest.WorkEstimate, _ fq.QueueNoteFn, execute func(),
) {
	lane := l.selectRequestLane(digest.User)
	note(&lane.schema, &lane.level, "")
	if l.open(digest.RequestInfo.Path) { // bounded by requestAdmission, and never in the way of others
		execute()
		return
	}
	caller := nameLaneCaller(digest.User)
	if !lane.places.takeClientAddressPlace(caller) {
		l.metrics.rejections.WithLabelValues(lane.reason).Inc()
		return
	}
	defer lane.places.returnClientAddressPlace(caller)
	execute()
}

// nameLaneCaller returns the user's name; for a ServiceAccount its namespace, lest a tenant have the places of as many callers as it makes
// ServiceAccounts.
func nameLaneCaller(u user.Info) string {
	if namespace, _, err := serviceaccount.SplitUsername(u.GetName()); err == nil {
		return serviceaccount.MakeNamespaceGroupName(namespace)
	}
	return u.GetName()
}

func (l *requestLanes) selectRequestLane(u user.Info) *requestLane {
	if l.isAutoscalingUser(u) {
		return l.autoscaling
	}
	if _, denied := l.denied.Get(u.GetName()); denied || u.GetName() == user.Anonymous {
		return l.strangers
	}
	return l.readers
}

// isAutoscalingUser reports whether u is an HPA controller or a part of kube-apiserver. A rejected availability probe of the
// latter would take the whole API away from HPAs.
func (l *requestLanes) isAutoscalingUser(u user.Info) bool {
	return slices.Contains(l.autoscalers, u.GetName()) || u.GetName() == "system:aggregator" ||
		slices.Contains(u.GetGroups(), user.SystemPrivilegedGroup)
}

// laneAuthorizer authorizes the autoscaling lane apart from all others: each authorizer has its own cache of decisions and
// its own client with a limited rate, so SubjectAccessReviews for others never delay an HPA's.
type laneAuthorizer struct {
	lanes                     *requestLanes
	autoscaling, others, wide authorizer.Authorizer
}

// authorizeInLane implements authorizer.AuthorizerFunc, and remembers denied callers as strangers.
func (a *laneAuthorizer) authorizeInLane(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	if !attributes.IsResourceRequest() && a.lanes.open(attributes.GetPath()) { // at once: probes never wait for decisions about others
		return authorizer.DecisionAllow, "", nil
	}
	attributes = dropLongSelectors(attributes)
	if a.lanes.isAutoscalingUser(attributes.GetUser()) {
		return a.autoscaling.Authorize(ctx, attributes)
	}
	chosen := a.others
	if measureCallerIdentity(attributes.GetUser()) > wideIdentityBytes {
		chosen = a.wide
	}
	decision, reason, err := chosen.Authorize(ctx, attributes)
	if err == nil && decision != authorizer.DecisionAllow {
		a.lanes.denied.Add(attributes.GetUser().GetName(), struct{}{}, strangerTime)
	}
	return decision, reason, err
}

// Run implements utilflowcontrol.Interface. Lanes have no configuration to follow.
func (l *requestLanes) Run(<-chan struct{}) error { return nil }

// Install implements utilflowcontrol.Interface. Lanes have no endpoints.
func (l *requestLanes) Install(*mux.PathRecorderMux) {}

// RegisterWatch implements utilflowcontrol.Interface. No API of this server has watches.
func (l *requestLanes) RegisterWatch(*http.Request) utilflowcontrol.ForgetWatchFunc { return nil }

// GetInterestedWatchCount implements utilflowcontrol.Interface.
func (l *requestLanes) GetInterestedWatchCount(*request.RequestInfo) int { return 0 }

// GetMaxSeats implements utilflowcontrol.Interface. Each request takes one place.
func (l *requestLanes) GetMaxSeats(string) uint64 { return 1 }

// SetMaxSeats implements utilflowcontrol.Interface.
func (l *requestLanes) SetMaxSeats(string, uint64) {}

// ForgetPriorityLevel implements utilflowcontrol.Interface.
func (l *requestLanes) ForgetPriorityLevel(string) {}
