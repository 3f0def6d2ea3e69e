package hpa

// This file holds stabilization windows, policies and limits.

import (
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// replicaRange is the replicas now, and the limits of the spec.
type replicaRange struct{ current, low, high int32 }

// completeScalingRules returns the rules of a direction with the defaults that the API server writes (autoscaling/v2).
func completeScalingRules(rules *autoscalingv2.HPAScalingRules, isUp bool, s Settings) autoscalingv2.HPAScalingRules {
	var full autoscalingv2.HPAScalingRules
	if rules != nil {
		full = *rules
	}
	if full.SelectPolicy == nil {
		full.SelectPolicy = new(autoscalingv2.MaxChangePolicySelect)
	}
	if full.StabilizationWindowSeconds == nil {
		window := int32(0)
		if !isUp {
			window = int32(s.DownscaleStabilization.Seconds())
		}
		full.StabilizationWindowSeconds = &window
	}
	if full.Policies == nil {
		full.Policies = []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}}
		if isUp {
			full.Policies = append(full.Policies, autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15})
		}
	}
	return full
}

// completeScalingBehavior returns the rules of both directions.
func completeScalingBehavior(b *autoscalingv2.HorizontalPodAutoscalerBehavior, s Settings) (up, down autoscalingv2.HPAScalingRules) {
	return completeScalingRules(b.ScaleUp, true, s), completeScalingRules(b.ScaleDown, false, s)
}

// stabilizeDown returns the largest recommendation of the controller's own window, for an HPA without spec.behavior. The new
// recommendation replaces the last recommendation older than the window.
func stabilizeDown(h *History, wish int32, now time.Time, window time.Duration) *Stabilization {
	st, reused := &Stabilization{DownFrom: now.Add(-window), Replicas: wish}, -1
	for i, rec := range h.Recommendations {
		if rec.Time.Before(st.DownFrom) {
			reused = i
		} else if rec.Replicas > st.Replicas {
			st.Replicas, st.Holding = rec.Replicas, &rec
		}
	}
	h.noteHPARecommendation(reused, Recommendation{wish, now})
	return st
}

// stabilizeBoth brings the present number into the range between the smallest recommendation of the scale-up window and the largest
// of the scale-down window.
func stabilizeBoth(h *History, wish, current int32, now time.Time, up, down autoscalingv2.HPAScalingRules) *Stabilization {
	st := &Stabilization{
		UpFrom:   now.Add(-time.Second * time.Duration(*up.StabilizationWindowSeconds)),
		DownFrom: now.Add(-time.Second * time.Duration(*down.StabilizationWindowSeconds)),
		Replicas: current,
	}
	low, high, reused := Recommendation{wish, now}, Recommendation{wish, now}, -1
	for i, rec := range h.Recommendations {
		if rec.Time.After(st.UpFrom) && rec.Replicas < low.Replicas {
			low = rec
		}
		if rec.Time.After(st.DownFrom) && rec.Replicas > high.Replicas {
			high = rec
		}
		if rec.Time.Before(st.UpFrom) && rec.Time.Before(st.DownFrom) {
			reused = i
		}
	}
	if st.Replicas < low.Replicas {
		st.Replicas, st.Holding = low.Replicas, &low
	}
	if st.Replicas > high.Replicas {
		st.Replicas, st.Holding = high.Replicas, &high
	}
	if st.Replicas == wish {
		st.Holding = nil
	}
	h.noteHPARecommendation(reused, Recommendation{wish, now})
	return st
}

// noteHPARecommendation replaces an entry, or adds one for a negative index.
func (h *History) noteHPARecommendation(index int, rec Recommendation) {
	if index < 0 {
		h.Recommendations = append(h.Recommendations, rec)
		return
	}
	h.Recommendations[index] = rec
}

const (
	withinRange        = "DesiredWithinRange"
	withinRangeMessage = "the desired count is within the acceptable range"
	tooFast            = "the desired replica count is increasing faster than the maximum scale rate"
	tooFastDown        = "the desired replica count is decreasing faster than the maximum scale rate"
	tooMany            = "the desired replica count is more than the maximum replica count"
	tooFew             = "the desired replica count is less than the minimum replica count"
)

// limitByBuiltInRate applies minReplicas, maxReplicas and the built-in rate of an HPA without spec.behavior: at most the double, or 4.
func limitByBuiltInRate(wish int32, r replicaRange) (*Limit, string) {
	rate := int32(math.Max(2*float64(r.current), 4))
	limit, high := &Limit{Replicas: wish, Reason: withinRange}, min(r.high, rate)
	switch {
	case wish < r.low:
		limit.Replicas, limit.Reason = r.low, "TooFewReplicas"
		return limit, tooFew
	case wish > high && r.high > rate:
		limit.Replicas, limit.Reason = high, "ScaleUpLimit"
		return limit, tooFast
	case wish > high:
		limit.Replicas, limit.Reason = high, "TooManyReplicas"
		return limit, tooMany
	}
	return limit, withinRangeMessage
}

// limitByScalingPolicies applies the limits of the spec and the policies of the direction.
func limitByScalingPolicies(wish int32, r replicaRange, h History, now time.Time, up, down autoscalingv2.HPAScalingRules) (*Limit, string) {
	limit := &Limit{Replicas: wish, Reason: withinRange}
	switch {
	case wish > r.current:
		rate := limit.applyScalingPolicies(r.current, h, now, up, true)
		high, reason, message := r.high, "TooManyReplicas", tooMany
		if rate = max(rate, r.current); rate < high {
			high, reason, message = rate, "ScaleUpLimit", tooFast
		}
		if wish > high {
			limit.Replicas, limit.Reason = high, reason
			return limit, message
		}
	case wish < r.current:
		rate := limit.applyScalingPolicies(r.current, h, now, down, false)
		low, reason, message := r.low, "TooFewReplicas", tooFew
		if rate = min(rate, r.current); rate > low {
			low, reason, message = rate, "ScaleDownLimit", tooFastDown
		}
		if wish < low {
			limit.Replicas, limit.Reason = low, reason
			return limit, message
		}
	}
	return limit, withinRangeMessage
}

// applyScalingPolicies notes the limit of each policy and returns the selected one.
func (l *Limit) applyScalingPolicies(current int32, h History, now time.Time, rules autoscalingv2.HPAScalingRules, isUp bool) int32 {
	if *rules.SelectPolicy == autoscalingv2.DisabledPolicySelect {
		return current
	}
	takesHighest := isUp != (*rules.SelectPolicy == autoscalingv2.MinChangePolicySelect)
	rate := int32(math.MaxInt32)
	if takesHighest {
		rate = math.MinInt32
	}
	for _, policy := range rules.Policies {
		from := now.Add(-time.Second * time.Duration(policy.PeriodSeconds))
		start := current - sumHPAScaleEvents(h.ScaleUps, from) + sumHPAScaleEvents(h.ScaleDowns, from)
		allowed := limitByScalingPolicy(policy, start, isUp)
		l.Policies = append(l.Policies, PolicyLimit{policy, start, allowed})
		if takesHighest {
			rate = max(rate, allowed)
		} else {
			rate = min(rate, allowed)
		}
	}
	return rate
}

// limitByScalingPolicy returns the replicas that a policy allows from a number at its period's begin. Percents are rounded up on the way up
// and cut on the way down.
func limitByScalingPolicy(policy autoscalingv2.HPAScalingPolicy, start int32, isUp bool) int32 {
	share := float64(policy.Value) / 100
	switch {
	case policy.Type == autoscalingv2.PodsScalingPolicy && isUp:
		return start + policy.Value
	case policy.Type == autoscalingv2.PodsScalingPolicy:
		return start - policy.Value
	case isUp:
		return int32(math.Ceil(float64(start) * (1 + share)))
	}
	return int32(float64(start) * (1 - share))
}

// sumHPAScaleEvents adds up the changes after a time.
func sumHPAScaleEvents(events []ScaleEvent, from time.Time) int32 {
	sum := int32(0)
	for _, e := range events {
		if e.Time.After(from) {
			sum += e.Change
		}
	}
	return sum
}

// AddRescale adds a successful write of the scale to the controller's memory, which keeps them while spec.behavior is set.
func (h *History) AddRescale(b *autoscalingv2.HorizontalPodAutoscalerBehavior, from, to int32, now time.Time, s Settings) {
	if b == nil || from == to {
		return
	}
	up, down := completeScalingBehavior(b, s)
	if to > from {
		h.ScaleUps = noteHPAScaleEvent(h.ScaleUps, to-from, now, up)
	} else {
		h.ScaleDowns = noteHPAScaleEvent(h.ScaleDowns, from-to, now, down)
	}
}

// noteHPAScaleEvent adds a change of the replicas. It replaces the last event that is older than the longest policy's period.
func noteHPAScaleEvent(events []ScaleEvent, change int32, now time.Time, rules autoscalingv2.HPAScalingRules) []ScaleEvent {
	longest := int32(0)
	for _, policy := range rules.Policies {
		longest = max(longest, policy.PeriodSeconds)
	}
	from, reused := now.Add(-time.Second*time.Duration(longest)), -1
	for i := range events {
		events[i].Outdated = events[i].Outdated || events[i].Time.Before(from)
		if events[i].Outdated {
			reused = i
		}
	}
	if event := (ScaleEvent{Change: change, Time: now}); reused < 0 {
		events = append(events, event)
	} else {
		events[reused] = event
	}
	return events
}
