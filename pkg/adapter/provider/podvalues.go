// Values of a set of pods.

package provider

import (
	"cmp"
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// podValues are the values of a metric for a set of pods: each pod is in exactly one of values, omitted, unready and
// inactive.
type podValues struct {
	// values belong to live pods, sorted by pod, each valid; quantities are the same numbers.
	values     []*metric.Value
	quantities []resource.Quantity
	// rule computed the first value; nil without any. mixed is set if rules with another aggregate computed others.
	rule  *rule.Rule
	mixed bool
	// omitted are the other live pods. unready are the omitted pods that are not ready, fail their scrapes, and have no counter any more.
	// inactive are the pods that are not live. All are sorted by pod.
	omitted, unready, inactive []metric.Omission
}

// newMissingPodValuesError returns the error for pods without values; noun counts them.
func (v podValues) newMissingPodValuesError(noun string) error {
	return newMissingObjectsError(noun, slices.Concat(v.omitted, v.unready, v.inactive))
}

// evaluatePods computes the values of the pods, each by the first rule that reads a family of its page. It fails if
// the backend fails, if the rule rejects a negative value (such a rule is wrong for the other pods too), or if a family
// is of a type that no rule takes.
func (p *Provider) evaluatePods(ctx context.Context, req metricRequest, pods []discovery.Pod) (podValues, error) {
	sortPodsByName(pods)
	results := make([]podResult, len(pods))
	for i := range pods {
		results[i].pod, results[i].done = &pods[i], !pods[i].Live
	}
	trial := req
	for ; trial.rule != nil && requestNeedsFurtherRule(results); trial.rule = trial.rule.Next() {
		if err := p.evaluateRuleForPods(ctx, trial, pods, results); err != nil {
			return podValues{}, err
		}
	}
	values, err := p.collectPodValues(req, results)
	fillReadEvidence(ctx, pods, values)
	return values, err
}

// sortPodsByName sorts pods by namespace and name. A single list is sorted already.
func sortPodsByName(pods []discovery.Pod) {
	for i := 1; i < len(pods); i++ {
		if pods[i-1].Object().Compare(pods[i].Object()) > 0 {
			slices.SortFunc(pods, func(a, b discovery.Pod) int { return a.Object().Compare(b.Object()) })
			return
		}
	}
}

// collectPodValues sorts the results of pods into values and omissions.
func (p *Provider) collectPodValues(req metricRequest, results []podResult) (podValues, error) {
	out := podValues{values: make([]*metric.Value, 0, len(results)), quantities: make([]resource.Quantity, 0, len(results))}
	for i := range results {
		r := &results[i]
		v, o := r.value, r.omission
		var n resource.Quantity
		var reason metric.Reason
		switch {
		case !r.pod.Live:
			out.inactive = append(out.inactive, r.pod.Omission)
			continue
		case r.conflict != nil && r.rule == nil:
			return podValues{}, p.newTypeConflictError(req.demand.Namespace, *r.conflict)
		case r.rule != nil:
			if n, reason = convertToMilliQuantity(v.Value); reason != "" {
				o = new(newObjectOmission(r.rule, r.pod.Object(), reason, ""))
			}
		}
		if o != nil {
			v, n, reason = p.substituteOmittedValue(req, *o)
		}
		switch {
		case reason == "":
			out.values, out.quantities = append(out.values, v), append(out.quantities, n)
			out.recordRuleOfValue(cmp.Or(r.rule, req.rule))
		case o.Reason == metric.ReasonScrapeFailed && !r.pod.Ready && !r.goesOn:
			out.unready = append(out.unready, *o)
		default:
			out.omitted = append(out.omitted, *o)
		}
	}
	for _, omissions := range [][]metric.Omission{out.omitted, out.unready, out.inactive} {
		p.metrics.countOmissionReasons(omissions)
	}
	return out, nil
}

func (v *podValues) recordRuleOfValue(r *rule.Rule) {
	if v.rule == nil {
		v.rule = r
	}
	v.mixed = v.mixed || v.rule.Aggregate != r.Aggregate
}

// podResult is the value of a pod, or the reason why it has none.
type podResult struct {
	pod *discovery.Pod
	// done is set if no further rule is to be tried for the pod.
	done bool
	// rule computed value, which is the backend's; both are nil without a value.
	rule  *rule.Rule
	value *metric.Value
	// omission is the reason by the first rule, conflict the first family of an unfit type; nil without one.
	omission *metric.Omission
	conflict *rule.TypeConflict
	// goesOn is set if the pod's counters have not ended so far, and the backend does not know their present counts: a sum without the pod
	// would lack its counts within the window.
	goesOn bool
}

// requestNeedsFurtherRule reports whether a further rule is to be tried for some pod.
func requestNeedsFurtherRule(results []podResult) bool {
	for i := range results {
		if !results[i].done {
			return true
		}
	}
	return false
}

// evaluateRuleForPods evaluates a single rule for the pods that are open.
func (p *Provider) evaluateRuleForPods(ctx context.Context, req metricRequest, pods []discovery.Pod, results []podResult) error {
	req.moved, req.movedAt = findLatestLoadMove(pods, req.now)
	req.unseen = p.findUnseenPodCounts(req.rule, pods, func(*discovery.Pod, metric.TimeSpan) bool { return true })
	pods = p.listPodsToEvaluate(req, pods, results)
	req.began = findLatestProcessStart(pods)
	req.readied, req.unreadied = collectReadinessTimes(pods, req.now)
	found, err := p.evaluateRuleByNamespace(ctx, req, pods)
	if err != nil {
		return err
	}
	var departed departedCounts
	var silent []*podResult
	for i := range results {
		r := &results[i]
		var computed *metric.Value
		computed, found = takeNextPodValue(found, r.pod)
		computed = p.validatePodValue(req, r.pod, computed, &departed)
		if req.countsDepartedPods() && r.pod.Live && !r.pod.Ready && p.Scrapes.CountsUnseen(r.pod.Namespace, r.pod.Name) {
			departed.addUnknownDepartedCounts(r.pod, metric.ReasonStale, unseenCounts)
		}
		if r.done {
			continue
		}
		if err := p.recordPodResult(&req, r, computed); err != nil {
			return err
		}
		if computed == nil {
			silent = append(silent, r)
		}
	}
	if err := p.proveSeriesAbsence(ctx, req, silent); err != nil || !req.countsDepartedPods() {
		return err
	}
	if len(departed.unknown) > 0 {
		p.metrics.countOmissionReasons(departed.unknown)
		return newMissingObjectsError(formatCountedPods(pods), departed.unknown)
	}
	spreadDepartedTotal(results, req.rule, departed.total)
	return nil
}

// validatePodValue returns the value that the rule has for a pod, with a reason if it is not right; nil if the pod has none. It adds
// the counts that the pod leaves behind to departed.
func (p *Provider) validatePodValue(req metricRequest, pod *discovery.Pod, computed *metric.Value, departed *departedCounts) *metric.Value {
	if computed == nil {
		return nil
	}
	switch owner := findOwnerOfValue(req.rule, computed, pod); {
	case pod.Departed, computed.Ended && !pod.Ready, owner == earlierPod:
		departed.addDepartedShare(pod, computed)
		return nil
	case owner == unclearPod:
		computed.Reason, computed.Detail = metric.ReasonWarmingUp, "created less than a second before its sample"
	case p.hasPodEndedFamily(req.rule, pod):
		return nil
	case computed.Ended && p.awaitsFurtherPodSeries(req.rule, pod): // and may serve requests all the same
		return nil
	case computed.Reason == "" && p.hasDecreasingPodCounters(req.rule, pod):
		computed.Reason, computed.Detail = metric.ReasonDecreasing, metric.DecreasingDetail
	case computed.Reason == "" && lacksHeldBackEvents(req.rule, p.countHeldBackEvents(req.rule, pod), countEventsOfRate(computed)):
		computed.Reason, computed.Detail = metric.ReasonWarmingUp, heldBack
	}
	return computed
}

// listPodsToEvaluate returns the open pods with families of fit types, and the departed pods that count; pods itself if that is all
// of them. It records families of unfit types.
func (p *Provider) listPodsToEvaluate(req metricRequest, pods []discovery.Pod, results []podResult) []discovery.Pod {
	out, complete := pods, true
	for i := range results {
		if p.isPodToEvaluate(&req, &results[i]) {
			if !complete {
				out = append(out, pods[i])
			}
		} else if complete {
			out, complete = slices.Clone(pods[:i]), false
		}
	}
	return out
}

// isPodToEvaluate reports whether the backend is to be asked for the pod. It records a family of an unfit type.
func (p *Provider) isPodToEvaluate(req *metricRequest, r *podResult) bool {
	if r.done { // a pod that does not run yet may have the name of a departed pod
		return !r.pod.Live && req.countsDepartedPods()
	}
	c, ok := p.findFamilyTypeConflict(req, r.pod)
	if ok && r.conflict == nil {
		r.conflict = new(c)
	}
	return !ok
}

// recordPodResult records the computed value of an open pod (nil: none), or the reason of its omission.
func (p *Provider) recordPodResult(req *metricRequest, r *podResult, computed *metric.Value) error {
	reason, detail := metric.ReasonAbsent, ""
	if computed != nil {
		reason, detail = computed.Reason, computed.Detail
		r.goesOn = !computed.Ended && req.countsDepartedPods()
	}
	if computed != nil && reason == "" {
		_, reason = validateComputedValue(req.rule, computed, req.now)
	}
	switch reason {
	case "":
		r.done, r.rule, r.value, r.omission = true, req.rule, computed, nil
		return nil
	case metric.ReasonNegative:
		return p.rejectNegativeValue(req.rule, computed)
	case metric.ReasonScrapeFailed, metric.ReasonAbsent, metric.ReasonWarmingUp, metric.ReasonStale, metric.ReasonNotScraped,
		metric.ReasonTerminating, metric.ReasonNotANumber, metric.ReasonOutOfRange, metric.ReasonDecreasing:
	}
	o := p.explainPodOmission(*req, r.pod, reason, detail)
	// A comparison excludes the pod, and that is all that it lacks.
	if reason == metric.ReasonAbsent && computed != nil && (o.Reason == metric.ReasonAbsent || p.hasPodShownAllSeries(req, r.pod, &o)) {
		o.Reason, o.Detail = reason, detail
	}
	o.Detail = cmp.Or(o.Detail, detail)
	if r.omission == nil || o.Reason != metric.ReasonAbsent {
		r.omission = &o
	}
	// Another rule may know a pod without the family, or with one of an unfit type.
	r.done = o.Reason != metric.ReasonAbsent && r.conflict == nil
	return nil
}

// findLatestLoadMove returns the time when load last moved to or from one of the pods, which is now if some time is unknown, and the latest
// known time; zero if it never did.
func findLatestLoadMove(pods []discovery.Pod, now time.Time) (last, known time.Time) {
	latest := now.Add(-time.Millisecond) // the kubelet's clock may be ahead
	for i := range pods {
		last = findLaterLoadMove(last, &pods[i], now)
		for _, at := range [...]time.Time{pods[i].Left, pods[i].Readied, pods[i].Unreadied} {
			if at.After(latest) {
				at = latest
			}
			if at.After(known) {
				known = at
			}
		}
	}
	return last, known
}

// findUnseenPodCounts returns the latest time in which one of the pods that belong to a rule served requests without a page; zero without any.
func (p *Provider) findUnseenPodCounts(r *rule.Rule, pods []discovery.Pod, belongs func(*discovery.Pod, metric.TimeSpan) bool) (latest metric.TimeSpan) {
	if !isEmbeddedRule(r) || !r.Conserves() {
		return latest
	}
	unseen := p.Scrapes.UnseenPods()
	if len(unseen) == 0 {
		return latest
	}
	for i := range pods {
		if span := unseen[pods[i].Object()]; span.To.After(latest.To) && belongs(&pods[i], span) {
			latest = span
		}
	}
	return latest
}

// findLaterLoadMove returns the later of a time and the time when load last moved to or from a pod: when it became ready or stopped being
// ready, or now if that is unknown, if it left, or is about to.
func findLaterLoadMove(last time.Time, pod *discovery.Pod, now time.Time) time.Time {
	changed := pod.Readied
	if !pod.Ready {
		changed = pod.Unreadied
	}
	switch latest := now.Add(-time.Millisecond); { // now is an unknown time
	case pod.Departed || pod.Live && !pod.Ready && changed.IsZero():
		return now
	case !pod.Live || !changed.After(last):
		return last
	case changed.After(latest): // the kubelet's clock may be ahead
		return latest
	}
	return changed
}

// findLatestProcessStart returns the latest start of the pods' processes, or zero if one is unknown.
func findLatestProcessStart(pods []discovery.Pod) (latest time.Time) {
	for _, pod := range pods {
		switch {
		case pod.Started.IsZero():
			return time.Time{}
		case pod.Started.After(latest):
			latest = pod.Started
		}
	}
	return latest
}

// maxReadiedAge is the greatest age of a pod's readiness that matters for its first counts: no longer than windows are by default, with their
// slack.
const maxReadiedAge = 2 * time.Minute

// collectReadinessTimes returns the times at which pods lately became ready, and stopped being ready; nil if none did.
func collectReadinessTimes(pods []discovery.Pod, now time.Time) (readied, unreadied map[metric.Object]time.Time) {
	note := func(times *map[metric.Object]time.Time, pod *discovery.Pod, at time.Time) {
		if now.Sub(at) >= maxReadiedAge {
			return
		}
		if *times == nil {
			*times = map[metric.Object]time.Time{}
		}
		(*times)[pod.Object()] = at
	}
	for i := range pods {
		note(&readied, &pods[i], pods[i].Readied)
		note(&unreadied, &pods[i], pods[i].Unreadied)
	}
	return readied, unreadied
}

// awaitsFurtherPodSeries reports whether a ready pod with ended series has others to come: it refuses connections, or its page holds them
// back so far.
func (p *Provider) awaitsFurtherPodSeries(r *rule.Rule, pod *discovery.Pod) bool {
	_, ended := p.Scrapes.SilentSince(pod.Namespace, pod.Name)
	return ended || p.Scrapes.Diagnose(pod.Namespace, pod.Name, r.ReadFamilies()).Reason == metric.ReasonWarmingUp
}

// valueOwner says to which pod of a name a value belongs.
type valueOwner int

const (
	thisPod    valueOwner = iota
	earlierPod            // a pod that had the same name: its samples are still in the backend
	unclearPod            // either
)

// findOwnerOfValue compares the time of a value with the creation of the pod, which is truncated to a second. Samples of that second
// are an earlier pod's if their series have ended, and else of either. Of another backend's series it is not known whether they have
// ended; no usual pod answers within its first second.
func findOwnerOfValue(r *rule.Rule, v *metric.Value, pod *discovery.Pod) valueOwner {
	switch newest := v.NewestSample(); {
	case newest.IsZero() || !newest.Before(pod.Created.Add(time.Second)):
		return thisPod
	case newest.Before(pod.Created) || v.Ended || !isEmbeddedRule(r):
		return earlierPod
	}
	return unclearPod
}

// evaluateRuleByNamespace evaluates the rule for the pods, one namespace at a time. Otherwise a rule that sums by pod alone
// would add up pods with the same name. The values are sorted by object, at most one for each.
func (p *Provider) evaluateRuleByNamespace(ctx context.Context, req metricRequest, pods []discovery.Pod) ([]metric.Value, error) {
	var found []metric.Value
	for len(pods) > 0 {
		namespace, n := pods[0].Namespace, 1
		for n < len(pods) && pods[n].Namespace == namespace {
			n++
		}
		values, err := p.evaluateRuleOnBackend(ctx, req, namespace, listEvaluatedPodNames(pods[:n]))
		if err != nil {
			return nil, err
		}
		for i := range values {
			v := &values[i]
			if v.Object.Namespace == "" && !req.rule.Namespaced {
				v.Object.Namespace = namespace
			}
		}
		if pods = pods[n:]; found == nil {
			found = values
		} else {
			found = append(found, values...)
		}
	}
	sortValuesByObject(found)
	for i := 1; i < len(found); i++ {
		if found[i].Object == found[i-1].Object {
			return nil, metric.Errorf(metric.KindInternal, "rule %q: two values for pod %q", req.rule.Name, found[i].Object)
		}
	}
	return found, nil
}

// sortValuesByObject sorts values by object. The embedded backend's are sorted already.
func sortValuesByObject(values []metric.Value) {
	for i := 1; i < len(values); i++ {
		if values[i-1].Object.Compare(values[i].Object) > 0 {
			slices.SortFunc(values, func(a, b metric.Value) int { return a.Object.Compare(b.Object) })
			return
		}
	}
}

// takeNextPodValue returns the value of a pod, nil without one, and the values for the pods from it on: both lists are sorted.
func takeNextPodValue(values []metric.Value, pod *discovery.Pod) (*metric.Value, []metric.Value) {
	for len(values) > 0 {
		switch c := values[0].Object.Compare(pod.Object()); {
		case c == 0:
			return &values[0], values // a departed pod may have the name of the next pod
		case c > 0:
			return nil, values
		}
		values = values[1:]
	}
	return nil, nil
}

// evaluateRuleOnBackend evaluates the rule on its backend for the objects; nil objects mean all, an empty slice means none.
func (p *Provider) evaluateRuleOnBackend(ctx context.Context, req metricRequest, namespace string, objects []string) ([]metric.Value, error) {
	if objects != nil && len(objects) == 0 {
		return nil, nil
	}
	b, err := p.getBackendOfRule(req.rule)
	if err != nil {
		return nil, err
	}
	if !req.rule.Namespaced {
		namespace = ""
	}
	values, err := b.Evaluate(ctx, rule.Query{Rule: req.rule, Namespace: namespace, Objects: objects, Selector: req.matchers, Moved: req.moved, MovedAt: req.movedAt, Readied: req.readied, Unreadied: req.unreadied, Began: req.began, Unseen: req.unseen}, req.now)
	return values, p.explainEvaluationError(req, err)
}

// listEvaluatedPodNames returns the names of the pods, which may be departed pods with the name of a live pod.
func listEvaluatedPodNames(pods []discovery.Pod) []string {
	names := make([]string, 0, len(pods))
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	return names
}
