// The reasons of a HorizontalPodAutoscaler's conditions, in plain words.

package inventory

// conditionWords say the reasons of an autoscaler's conditions in plain words.
var conditionWords = map[string]string{
	"SucceededGetScale":                "the scale of the target was read",
	"FailedGetScale":                   "the scale of the target could not be read",
	"SucceededRescale":                 "the target was scaled",
	"FailedUpdateScale":                "the target could not be scaled",
	"ReadyForNewScale":                 "the wanted number is the current number",
	"ScaleDownStabilized":              "an earlier, higher wish within the stabilization window holds the number up",
	"ScaleUpStabilized":                "an earlier, lower wish within the stabilization window holds the number down",
	"ValidMetricFound":                 "a metric gave a wish",
	"InvalidSelector":                  "the selector of the target cannot be used",
	"AmbiguousSelector":                "the pods belong to more than one autoscaler",
	"ScalingDisabled":                  "the target is at 0 replicas, which switches the autoscaler off",
	"ScaledToZero":                     "the autoscaler itself scaled to 0 and goes on reading its metrics",
	"InvalidMetricSourceType":          "a metric has an unknown type",
	"FailedGetPodsMetric":              "a metric of pods could not be read",
	"FailedGetObjectMetric":            "a metric of an object could not be read",
	"FailedGetExternalMetric":          "an external metric could not be read",
	"FailedGetResourceMetric":          "CPU or memory could not be read",
	"FailedGetContainerResourceMetric": "CPU or memory of a container could not be read",
	"NotScaledToZero":                  "the autoscaler has not scaled to 0",
	"FailedComputeMetricsReplicas":     "no metric gave a wish",
	"FailedRescale":                    "the target could not be scaled",
	"DesiredWithinRange":               "the wish lies between minReplicas and maxReplicas",
	"TooManyReplicas":                  "it wants more than maxReplicas",
	"TooFewReplicas":                   "it wants less than minReplicas",
	"ScaleUpLimit":                     "a scale-up policy permits no more for now",
	"ScaleDownLimit":                   "a scale-down policy permits no less for now",
}

// DescribeCondition returns the meaning of a condition's reason in plain words, or the reason itself.
func DescribeCondition(reason string) string {
	if words := conditionWords[reason]; words != "" {
		return words
	}
	return reason
}
