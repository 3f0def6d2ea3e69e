// Package hpa computes a HorizontalPodAutoscaler's decision as kube-controller-manager does: the wish of each metric, unready pods,
// tolerance, stabilization, policies and limits.
//
// The package has no client and no clock. Decide takes the HPA, the scale of its target, the target's pods, an answer for each
// metric, the history that the controller keeps in memory, and the time. Amounts are in thousandths (milli) of the metric's unit, as
// in a resource.Quantity's MilliValue.
//
// The behaviour is the HPA controller's of Kubernetes 1.36 and 1.37 (pkg/controller/podautoscaler). The module test/hpa runs both
// controllers beside this package on random cases and compares the whole status. The differences between the two minors, at their
// default feature gates:
//
//	subject                            1.36.3                         1.37.2
//	arithmetic, policies, windows      the same                       the same
//	scale to zero (HPAScaleToZero)     off: a ScaledToZero condition  on: a ScaledToZero condition is written with
//	                                   is removed, 0 is a pause       each rescale, and a True one wakes the target
//	status.observedGeneration          not written                    the generation that was seen
//	error of an object metric          "metric M: KIND on NS N/ERR"   "metric M on KIND NS/N: ERR"
//	a new or changed spec              waits for its next turn        is reconciled at once (HPAGeneration)
//
// Two checks stay with the caller, since they need more than one HPA: a scale without a valid selector, and pods that several HPAs
// select. In both cases the controller computes nothing.
package hpa
