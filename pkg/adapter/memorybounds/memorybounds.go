// Package memorybounds lists the bounds of the adapter's memory: together they take half of the shipped container's memory at most.
package memorybounds

const (
	kib = 1 << 10
	mib = 1 << 20
)

// Bounds that are counted in bytes where they are enforced. Each is enough for 5,000 pods and 1,000 autoscalers.
const (
	// Store bounds the series, and the scraper's memory of pages. A series with 200 bytes of labels takes 1.2 KiB of it: ten series of
	// each of 5,000 pods.
	Store = 64 * mib
	// Records bounds the closed blocks of decisions: an hour of 1,000 autoscalers of thirteen pods. --record-size changes it.
	Records = 12 * mib
	// RecordedSpecs bounds the open blocks and the newest specs of autoscalers: 1,000 with specs of 3 KiB.
	RecordedSpecs = 11 * mib
	// AutoscalerDemands bounds the demands of autoscalers: 1,000 with ten metrics each, with names and selectors of 200 bytes.
	AutoscalerDemands = 8 * mib
	// ReaderDemands bounds the demands of readers: 10,000 of 500 bytes.
	ReaderDemands = 5 * mib
	// FamilySets bounds the sets of families that are demanded of pods. Pods of a workload share one: 1,000 of 100 families.
	FamilySets = 4 * mib
	// ServerResults bounds the results of the queries to a server: ten metrics of 5,000 pods.
	ServerResults = 16 * mib
	// ServerSelectors bounds the texts of their selectors. A parsed one takes ten times its text.
	ServerSelectors = 512 * kib
	// ServerResponse is the default bound of a server's response. A result has about 150 bytes: 5,000 pods with their times take 1.5 MiB. A
	// backend reads one response above LargeServerResponse at a time.
	ServerResponse      = 4 * mib
	LargeServerResponse = 128 * kib
	// DecodedRatio is how many times its bound a response may take once it is decoded: 20,000 results.
	DecodedRatio = 3
	// Expressions bounds the remembered expressions: 1,000 of 300 bytes.
	Expressions = 6 * mib
	// ExpressionRatio is how many times its text a parsed expression takes, without its regular expressions.
	ExpressionRatio = 16
	// ExpandedRules bounds the remembered rules of metrics that a pattern serves: 700 names, which autoscalers share.
	ExpandedRules = 6 * mib
	// ReviewedLabels bounds the labels that the review of a rule holds, of which one computes at a time, and ReviewedSamples its samples.
	ReviewedLabels  = 6 * mib
	ReviewedSamples = 250_000
	// FamilyLists bounds the lists of a namespace's families at a time, and FamilyList the families of one: 1,100 with 100 bytes of text.
	FamilyLists = 3
	FamilyList  = 256 * kib
	// ListedPages bounds the pages that are read for one at a time, and ListedPage the families of a page: 560.
	ListedPages = 2
	ListedPage  = 128 * kib
	// RememberedFamilies bounds the families of pages that answer further lists for some seconds: of 20 workloads with 100 families.
	RememberedFamilies = 512 * kib
	// WideIdentities bounds the identities above IdentityBytes in remembered decisions about access.
	WideIdentities = 1 * mib
	// IdentityBytes bounds the identity of a caller in the other remembered decisions. A ServiceAccount's has 600 bytes.
	IdentityBytes = 1 * kib
	// PathBytes bounds a path in them. The longest path of a metric has 900 bytes.
	PathBytes = 1 * kib
	// Responses bounds the large responses that wait for their clients. A list of 5,000 pods has 2.5 MiB, and a
	// user may have half of the bytes.
	Responses = 6 * mib
	// Connections bounds the connections, except kube-apiserver's. Probes and monitoring need some dozens.
	Connections = 90
	// YoungConnections bounds further connections, which are in their handshakes.
	YoungConnections = 90
	// Streams bounds the HTTP/2 streams of one of them. Probes and monitoring need one or two.
	Streams = 4
	// PendingValues bounds the values and pods of the answers that wait for their record to encode them: 1,000 autoscalers of 20 pods give
	// about 1,500 in half a second.
	PendingValues = 2000
	// PeerLogs bounds the records that a read gets from the other replicas together. A whole record of 20 pods has some 5 MiB as JSON.
	PeerLogs = 6 * mib
	// RecordBytes bounds the record of an autoscaler.
	RecordBytes = 84 * kib
)

// Sizes of things that are bounded in number, in bytes or as a multiple of their text.
const (
	selectorRatio     = 10
	jsonRatio         = 2
	rememberedReviews = 8192
	reviewBytes       = 256
	connectionBytes   = 40 * kib
	streamBytes       = 8 * kib
	pages, pageBytes  = 64, 128 * kib
	sampleBytes       = 16
	pendingValueBytes = 280
	// programBytes is the memory of an adapter with 5,000 pods and 1,000 autoscalers, without reads.
	programBytes = 24 * mib
)

// Bound is the most memory that a part of the adapter takes.
type Bound struct {
	Part  string
	Bytes int64
}

// List returns the bounds of the default configuration with one server, the largest first.
func List() []Bound {
	return []Bound{
		{"series, and what is remembered of pages (`maxStoreBytes`)", Store},
		{"program, pods, autoscalers", programBytes},
		{"a large response of a server, decoded", 2 * DecodedRatio * ServerResponse}, // its samples, and its values
		{"records of decisions, specs", Records + RecordedSpecs},
		{"remembered decisions about access", rememberedReviews*(IdentityBytes+PathBytes+reviewBytes) + WideIdentities},
		{"results and selectors of queries to a server", ServerResults + selectorRatio*ServerSelectors},
		{"demands, sets of families", AutoscalerDemands + ReaderDemands + FamilySets},
		{"connections", Connections*(2*connectionBytes+Streams*streamBytes) + YoungConnections*connectionBytes},
		{"responses that wait for their clients", jsonRatio * Responses},
		{"the review of a rule", ReviewedLabels + sampleBytes*ReviewedSamples},
		{"pages that are read", pages * pageBytes},
		{"records of other replicas for a read", PeerLogs},
		{"lists of families", FamilyLists*(FamilyList+ListedPages*ListedPage) + RememberedFamilies},
		{"answers that wait for their record", PendingValues * pendingValueBytes},
		{"parsed expressions", Expressions},
		{"rules of patterns", ExpandedRules},
	}
}
