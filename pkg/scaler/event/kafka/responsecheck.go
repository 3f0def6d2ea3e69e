// The responses that a reader of a topic gets, as far as their counts.

package kafka

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// readResponse reads the response to a request, up to its end.
func (r *brokerResponseReader) readResponse(to brokerRequest) {
	kind := kmsg.ResponseForKey(to.key)
	read, known := responseBodies[kmsg.Key(to.key)]
	if kind == nil || !known {
		r.setFault(fmt.Errorf("%w: no reader of events sends request %d", errMalformedResponse, to.key))
		return
	}
	kind.SetVersion(to.version)
	r.version, r.flexible = to.version, kind.IsFlexible()
	r.skipBytes(4) // the number of the request, which the client checks
	if kmsg.Key(to.key) != kmsg.ApiVersions {
		r.skipTags()
	}
	read(r)
	r.skipBytes(r.left) // the client overlooks it
}

// responseBodies read the bodies of responses, in all versions that the client knows.
var responseBodies = map[kmsg.Key]func(*brokerResponseReader){
	kmsg.ApiVersions:          (*brokerResponseReader).readAPIVersions,
	kmsg.Fetch:                (*brokerResponseReader).readFetch,
	kmsg.ListOffsets:          (*brokerResponseReader).readListOffsets,
	kmsg.Metadata:             (*brokerResponseReader).readMetadata,
	kmsg.OffsetForLeaderEpoch: (*brokerResponseReader).readOffsetForLeaderEpoch,
	kmsg.SASLHandshake:        (*brokerResponseReader).readSASLHandshake,
	kmsg.SASLAuthenticate:     (*brokerResponseReader).readSASLAuthenticate,
}

// unsupportedVersion is the error of a broker that knows only older versions of a request. It responds in version 0.
const unsupportedVersion = 35

func (r *brokerResponseReader) readAPIVersions() {
	if r.readInt16() == unsupportedVersion {
		r.version, r.flexible = 0, false
	}
	r.readElements(func() { r.skipBytes(2 + 2 + 2); r.skipTags() })
	r.skipSince(1, 4)
	features := func() {
		r.readElements(func() { r.skipString(); r.skipBytes(2 + 2); r.skipTags() })
	}
	r.readTags(map[int]func(){0: features, 2: features})
}

func (r *brokerResponseReader) readFetch() {
	r.skipSince(1, 4)
	r.skipSince(7, 2+4)
	r.readElements(func() {
		r.skipTopicNameOrID()
		r.readElements(r.readFetchedPartition)
		r.skipTags()
	})
	r.readTags(map[int]func(){0: func() {
		r.readElements(func() { r.skipBytes(4); r.skipString(); r.skipBytes(4); r.skipString(); r.skipTags() })
	}})
}

// skipTopicNameOrID skips the identity of a topic in the response to a fetch.
func (r *brokerResponseReader) skipTopicNameOrID() {
	if r.version < 13 {
		r.skipString()
		return
	}
	r.skipBytes(16)
}

func (r *brokerResponseReader) readFetchedPartition() {
	r.skipBytes(4 + 2 + 8)
	r.skipSince(4, 8)
	r.skipSince(5, 8)
	if r.version >= 4 { // ended transactions
		r.readElements(func() { r.skipBytes(8 + 8); r.skipTags() })
	}
	r.skipSince(11, 4)
	r.skipBlob() // the records, whose counts the decompressor and the client bound
	r.readTags(map[int]func(){
		0: func() { r.skipBytes(4 + 8); r.skipTags() }, // the epoch from which on the logs differ
		1: func() { r.skipBytes(4 + 4); r.skipTags() }, // the leader
		2: func() { r.skipBytes(8 + 4); r.skipTags() }, // a snapshot
	})
}

func (r *brokerResponseReader) readListOffsets() {
	r.skipSince(2, 4)
	r.readElements(func() {
		r.skipString()
		r.readElements(func() {
			r.skipBytes(4 + 2)
			if r.version == 0 {
				r.readElements(func() { r.skipBytes(8) })
			}
			r.skipSince(1, 8+8)
			r.skipSince(4, 4)
			r.skipTags()
		})
		r.skipTags()
	})
	r.skipTags()
}

func (r *brokerResponseReader) readMetadata() {
	r.skipSince(3, 4)
	r.readElements(func() {
		r.skipBytes(4)
		r.skipString()
		r.skipBytes(4)
		if r.version >= 1 {
			r.skipString()
		}
		r.skipTags()
	})
	if r.version >= 2 {
		r.skipString()
	}
	r.skipSince(1, 4)
	r.readElements(r.readMetadataTopic)
	if r.version <= 10 {
		r.skipSince(8, 4)
	}
	r.skipSince(13, 2)
	r.skipTags()
}

func (r *brokerResponseReader) readMetadataTopic() {
	r.skipBytes(2)
	r.skipString()
	r.skipSince(10, 16)
	r.skipSince(1, 1)
	r.readElements(func() {
		r.skipBytes(2 + 4 + 4)
		r.skipSince(7, 4)
		r.skipInt32s()
		r.skipInt32s()
		if r.version >= 5 {
			r.skipInt32s()
		}
		r.skipTags()
	})
	r.skipSince(8, 4)
	r.skipTags()
}

func (r *brokerResponseReader) readOffsetForLeaderEpoch() {
	r.skipSince(2, 4)
	r.readElements(func() {
		r.skipString()
		r.readElements(func() {
			r.skipBytes(2 + 4)
			r.skipSince(1, 4)
			r.skipBytes(8)
			r.skipTags()
		})
		r.skipTags()
	})
	r.skipTags()
}

func (r *brokerResponseReader) readSASLHandshake() {
	r.skipBytes(2)
	r.readElements(r.skipString)
}

func (r *brokerResponseReader) readSASLAuthenticate() {
	r.skipBytes(2)
	r.skipString()
	r.skipBlob()
	r.skipSince(1, 8)
	r.skipTags()
}
