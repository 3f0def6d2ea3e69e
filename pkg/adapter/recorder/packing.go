// This file compresses closed blocks: the names of pods, their times and the high bytes of numbers repeat.

package recorder

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"sync"
)

// maxInflation bounds how many times its packed bytes a block may have: DEFLATE reaches no more.
const maxInflation = 1032

// statusTexts are what DEFLATE knows before each block: the texts that kube-controller-manager writes into most statuses, in its order. A change of
// them is another format.
var statusTexts = appendBlockTexts(nil, []string{
	"ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate",
	"ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate",
	"TooManyReplicas", "the desired replica count is more than the maximum replica count",
	"TooFewReplicas", "the desired replica count is less than the minimum replica count",
	"SucceededRescale", "the HPA controller was able to update the target scale to 10",
	"SucceededGetScale", "the HPA controller was able to get the target's current scale",
	"ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation",
	"ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation",
	"AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size",
	"ScalingActive", "ValidMetricFound", "the HPA was able to successfully calculate a replica count from external metric ",
	"the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)",
	"the HPA was able to successfully calculate a replica count from pods metric ",
	"ScalingLimited", "False", "DesiredWithinRange", "the desired count is within the acceptable range",
})

// appendBlockTexts appends texts, each behind its length.
func appendBlockTexts(data []byte, texts []string) []byte {
	for _, text := range texts {
		data = append(binary.AppendUvarint(data, uint64(len(text))), text...)
	}
	return data
}

// blockPacker compresses blocks. It is safe for concurrent use.
type blockPacker struct {
	writers sync.Pool // of *flate.Writer: one takes more memory than a hundred blocks
}

// packBlock replaces the data and the texts of a block by their compressed bytes. It does nothing to a packed one.
func (p *blockPacker) packBlock(b *block) {
	if b.packed != nil {
		return
	}
	w, ok := p.writers.Get().(*flate.Writer)
	if !ok {
		w, _ = flate.NewWriterDict(nil, flate.DefaultCompression, statusTexts) // the level is valid
	}
	defer p.writers.Put(w)
	plain := append(appendBlockTexts(binary.AppendUvarint(nil, uint64(len(b.texts))), b.texts), b.data...)
	var packed bytes.Buffer
	w.Reset(&packed)
	_, _ = w.Write(plain) // a buffer takes all bytes
	_ = w.Close()
	b.packed, b.plainBytes, b.data, b.texts = bytes.Clone(packed.Bytes()), len(plain), nil, nil
	b.bytes = blockOverhead + len(b.packed)
}

// unpackBlock returns a block with its data and its texts.
func (b *block) unpackBlock() (*block, error) {
	if b.packed == nil {
		return b, nil
	}
	if b.plainBytes < 0 || b.plainBytes/maxInflation > len(b.packed) {
		return nil, errDamagedBlock
	}
	plain := make([]byte, b.plainBytes)
	if _, err := io.ReadFull(flate.NewReaderDict(bytes.NewReader(b.packed), statusTexts), plain); err != nil {
		return nil, errDamagedBlock
	}
	open := *b
	open.packed = nil
	count, plain, ok := cutLength(plain)
	for range count {
		var size int
		if size, plain, ok = cutLength(plain); !ok {
			return nil, errDamagedBlock
		}
		open.texts, plain = append(open.texts, string(plain[:size])), plain[size:]
	}
	if open.data = plain; !ok {
		return nil, errDamagedBlock
	}
	return &open, nil
}

// cutLength cuts a length off, which is of no more bytes than the rest.
func cutLength(data []byte) (length int, rest []byte, ok bool) {
	n, size := binary.Uvarint(data)
	if size <= 0 || n > uint64(len(data)-size) {
		return 0, nil, false
	}
	return int(n), data[size:], true
}
