// Package domain holds the names under which Tachometer is known to a cluster: the group and kinds of its configuration, and the
// prefix of its labels and annotations. To publish it under another domain, change Name and the manifests; `make verify`
// compares them.
package domain

// Name is the DNS name that the groups and prefixes stand under.
const Name = "tachometer.dev"

// The head of the configuration files.
const (
	// ConfigAPIVersion is the apiVersion of both kinds.
	ConfigAPIVersion = "config." + Name + "/v1alpha1"
	// AdapterConfigKind is the kind of the adapter's configuration.
	AdapterConfigKind = "AdapterConfig"
	// ScalerConfigKind is the kind of the scaler's configuration.
	ScalerConfigKind = "ScalerConfig"
)

// ExplainGroup is the API group over the adapter's records.
const ExplainGroup = "explain." + Name

// The names of the scaler in a cluster.
const (
	// ScalerGroup is the API group of its resources.
	ScalerGroup = "scaler." + Name
	// ScalerPrefix begins the keys of its labels and annotations.
	ScalerPrefix = ScalerGroup + "/"
	// ScalerManager is the field manager of its writes.
	ScalerManager = "tachometer-scaler"
	// ScalerController is the reportingController of its Events.
	ScalerController = Name + "/scaler"
)

// The headers of reads of the metrics APIs.
const (
	// ReplicaHeader of a response names the replica of the adapter that computed it.
	ReplicaHeader = "Tachometer-Replica"
	// OtherReplicaHeader of a request names a replica of the adapter: another one shall compute the response, where one can be reached.
	OtherReplicaHeader = "Tachometer-Other-Replica"
)
