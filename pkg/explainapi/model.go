package explainapi

// modelPrefix begins the OpenAPI names of the types.
const modelPrefix = "dev.tachometer.explain.v1alpha1."

// OpenAPIModelName returns the OpenAPI name of the type.
func (Explanation) OpenAPIModelName() string { return modelPrefix + "Explanation" }

// OpenAPIModelName returns the OpenAPI name of the type.
func (ExplanationList) OpenAPIModelName() string { return modelPrefix + "ExplanationList" }

// OpenAPIModelName returns the OpenAPI name of the type.
func (DecisionLog) OpenAPIModelName() string { return modelPrefix + "DecisionLog" }

// OpenAPIModelName returns the OpenAPI name of the type.
func (Target) OpenAPIModelName() string { return modelPrefix + "Target" }

// OpenAPIModelName returns the OpenAPI name of the type.
func (TargetList) OpenAPIModelName() string { return modelPrefix + "TargetList" }

// OpenAPIModelName returns the OpenAPI name of the type.
func (Metric) OpenAPIModelName() string { return modelPrefix + "Metric" }

// OpenAPIModelName returns the OpenAPI name of the type.
func (MetricList) OpenAPIModelName() string { return modelPrefix + "MetricList" }

// OpenAPIModelName returns the OpenAPI name of the type.
func (RuleReview) OpenAPIModelName() string { return modelPrefix + "RuleReview" }
