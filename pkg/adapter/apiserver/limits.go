// The numbers of all bounds in this package, with their reasons.

package apiserver

import (
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
)

// maxRequestBodyBytes bounds the body of a request. Only reviews of rules have one, of 16 KiB of text at most.
const maxRequestBodyBytes = 64 << 10

// serverLimits bound the memory and time that callers can take before they are authenticated, and at the same time afterwards.
type serverLimits struct {
	// connections bounds all connections, and connectionsPerAddress the connections of one remote address. An idle TLS connection
	// costs 40 KiB, with a client that reads no answers 40 KiB more and 8 KiB a stream. Connections of the front proxy have no such bound.
	connections, connectionsPerAddress int
	// youngConnections bounds further connections, while the oldest are younger than connectionGrace.
	youngConnections int
	// handshake bounds the time to a complete TLS handshake.
	handshake time.Duration
	// decision bounds the time of a decision about access that is not of the autoscaling lane.
	decision time.Duration
	// headerBytes bounds a request's header, and fields its fields. A read by an HPA has under 1 KiB in ten fields. HTTP/2 counts 32 bytes more
	// for each field.
	headerBytes, fields int
	// proxyHeaderBytes is the same for the front proxy. kube-apiserver forwards request lines of up to 1 MiB; they must be
	// read to be rejected with a reason.
	proxyHeaderBytes int
	// uriBytes bounds a request's URI. The provider takes selectors of up to 16 KiB; as escaped text one of them fits.
	uriBytes int
	// methodBytes and pathBytes bound texts that are keys of remembered decisions.
	methodBytes, pathBytes int
	// fieldBytes bounds each header, such as Accept, except the headers of the caller's identity. kubectl's longest has 200 bytes.
	fieldBytes int
	// requirements and values bound a selector before it is parsed; the provider counts them again.
	requirements, values int
	// tokenBytes bounds a bearer token. A ServiceAccount's has about 1 KiB.
	tokenBytes int
	// streams bounds the concurrent HTTP/2 streams of a connection. A browser or a Prometheus server uses one or two.
	streams int
	// proxyStreams is the same for the front proxy: its few connections carry the requests of the whole cluster. Its
	// client opens a second connection if a hundred streams are not enough.
	proxyStreams int
	// unproven bounds the requests with credentials that are still to be verified, which cost a TokenReview each.
	unproven, unprovenPerAddress int
	// strangerRequests bounds the requests a second of one address that are rejected, or need credentials to be verified, and strangerBurst
	// those at once. Beyond it the connections of those requests are not read.
	strangerRequests, strangerBurst int
	// probes bounds the health requests without credentials. Each takes microseconds; the bound per address keeps the
	// kubelet's probes, which come from the node's address, apart from a pod's flood.
	probes, probesPerAddress int
	// responseBytes bounds the large responses that wait for their clients, without those of the autoscaling lane. Their objects take some
	// times the bytes.
	responseBytes, responseBytesPerUser int
	// autoscaling, readers and strangers are the requests in flight of each lane.
	autoscaling, readers, strangers int
}

func defaultServerLimits() serverLimits {
	return serverLimits{
		connections: memorybounds.Connections, connectionsPerAddress: memorybounds.Connections / 4, youngConnections: memorybounds.YoungConnections,
		handshake: 10 * time.Second, decision: 10 * time.Second,
		headerBytes: 40 << 10, fields: fieldlimit.Max, proxyHeaderBytes: 1<<20 + 64<<10,
		uriBytes: 32 << 10, tokenBytes: 16 << 10, methodBytes: 16, pathBytes: memorybounds.PathBytes, fieldBytes: 8 << 10,
		requirements: 100, values: 1000,
		streams: memorybounds.Streams, proxyStreams: 100,
		unproven: 64, unprovenPerAddress: 16, strangerRequests: 50, strangerBurst: 200,
		responseBytes: memorybounds.Responses, responseBytesPerUser: memorybounds.Responses / 2,
		probes: 1024, probesPerAddress: 8,
		// 400 together, the library's bound for all. An HPA worker sends one request at a time, and a controller manager
		// has 5 workers by default.
		autoscaling: 200, readers: 150, strangers: 50,
	}
}
