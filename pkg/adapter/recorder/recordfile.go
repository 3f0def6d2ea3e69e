// This file writes the records into a file and reads them again, so that they survive a restart of the adapter.

package recorder

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

const (
	recordFileName = "decisions"
	// partialPattern matches the files of unfinished saves.
	partialPattern = recordFileName + "-*.partial"
	// recordFormat is the number of the format. A change of savedRecord, or of the bytes of a block, takes the next number: the file of another
	// format is not read.
	recordFormat     = "2"
	recordFileHeader = "tachometer decisions, format " + recordFormat + "\n"
	// maxGaps bounds the gaps of a record: the newest ones are kept.
	maxGaps = 10
)

var errOtherFormat = errors.New("another version of the adapter wrote the file")

// savedRecord is a record in the file.
type savedRecord struct {
	Namespace, Name, UID string
	Since, Saved         int64 // Unix time in milliseconds
	Gaps                 []explainapi.Gap
	Specs                []savedSpec
	Blocks               []savedBlock
}

// savedSpec is a specVersion. Spec is its protobuf.
type savedSpec struct {
	From int64 // Unix time in nanoseconds
	Seen string
	Spec []byte
}

// savedBlock is a packed block under the spec of an index.
type savedBlock struct {
	Spec                int
	Begin               int64
	Packed              []byte
	PlainBytes, Entries int
}

// newSavedRecord returns the blocks of a record, the open one too; false if it has none.
func (r *record) newSavedRecord(now time.Time) (savedRecord, bool) {
	r.mu.Lock()
	blocks := slices.Clone(r.blocks)
	var open *block
	if r.begin != 0 {
		open = r.copyOpenBlock()
	}
	saved := savedRecord{Namespace: r.key.Namespace, Name: r.key.Name, UID: string(r.uid), Since: r.since.UnixMilli(), Saved: now.UnixMilli(), Gaps: r.gaps}
	r.mu.Unlock()
	if open != nil {
		r.packer.packBlock(open)
		blocks = append(blocks, open)
	}
	var newest *specVersion
	for _, b := range blocks {
		if b.spec != newest {
			newest = b.spec
			spec, err := newest.spec.Marshal()
			if err != nil {
				return saved, false
			}
			saved.Specs = append(saved.Specs, savedSpec{newest.from.UnixNano(), newest.seen, spec})
		}
		saved.Blocks = append(saved.Blocks, savedBlock{len(saved.Specs) - 1, b.begin, b.packed, b.plainBytes, b.entries})
	}
	return saved, len(saved.Blocks) > 0
}

// restoreSavedRecord gives an empty record the blocks of the file, and returns their bytes.
func (r *record) restoreSavedRecord(saved *savedRecord) (bytes int, err error) {
	if len(saved.Specs) == 0 || len(saved.Blocks) == 0 {
		return 0, errDamagedBlock
	}
	specs := make([]*specVersion, len(saved.Specs))
	for i, s := range saved.Specs {
		spec := &autoscalingv2.HorizontalPodAutoscalerSpec{}
		if err := spec.Unmarshal(s.Spec); err != nil {
			return 0, fmt.Errorf("read a spec: %w", err)
		}
		specs[i] = &specVersion{time.Unix(0, s.From), s.Seen, spec, spec.Size()}
	}
	for _, s := range saved.Blocks {
		if s.Spec < 0 || s.Spec >= len(specs) {
			return 0, errDamagedBlock
		}
		b := &block{spec: specs[s.Spec], begin: s.Begin, packed: s.Packed, plainBytes: s.PlainBytes, entries: s.Entries}
		b.bytes = blockOverhead + len(b.packed) + r.countSpecBytes(b)
		r.blocks, r.bytes = append(r.blocks, b), r.bytes+b.bytes
	}
	r.since, r.spec = time.UnixMilli(saved.Since), specs[len(specs)-1]
	gap := explainapi.Gap{From: time.UnixMilli(saved.Saved).UTC(), Until: r.opened.UTC()}
	r.gaps = slices.Concat(saved.Gaps[max(0, len(saved.Gaps)-maxGaps+1):], []explainapi.Gap{gap})
	return r.bytes, nil
}

// listRecords returns all records, and those of the file that still wait for their autoscalers.
func (r *Recorder) listRecords() (all []*record, waiting []*savedRecord) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Collect(maps.Values(r.records)), slices.Collect(maps.Values(r.saved))
}

// saveRecords replaces the file. A crash at any moment leaves the old file or the new one.
func (r *Recorder) saveRecords() (err error) {
	r.encodeAllPendingAnswers()
	f, err := os.CreateTemp(r.opts.Directory, partialPattern)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := r.writeRecordFile(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(r.opts.Directory, recordFileName)); err != nil {
		return err
	}
	return syncDirectory(r.opts.Directory)
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeRecordFile writes the header, a message for each record, and the checksum of both. It holds one record in memory at a time.
func (r *Recorder) writeRecordFile(to io.Writer) error {
	buffered := bufio.NewWriterSize(to, 64<<10)
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	out := io.MultiWriter(buffered, sum)
	if _, err := io.WriteString(out, recordFileHeader); err != nil {
		return err
	}
	messages := gob.NewEncoder(out)
	all, waiting := r.listRecords()
	for _, saved := range waiting {
		if err := messages.Encode(saved); err != nil {
			return err
		}
	}
	for _, rec := range all {
		if saved, ok := rec.newSavedRecord(r.opts.Now()); ok {
			if err := messages.Encode(&saved); err != nil {
				return err
			}
		}
	}
	if _, err := buffered.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return buffered.Flush()
}

// readRecordFile returns the records of the file. Without a file there are none.
func (r *Recorder) readRecordFile() (map[types.NamespacedName]*savedRecord, error) {
	f, err := os.Open(filepath.Join(r.opts.Directory, recordFileName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := r.checkRecordFile(f)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(int64(len(recordFileHeader)), io.SeekStart); err != nil {
		return nil, err
	}
	all := map[types.NamespacedName]*savedRecord{}
	messages := gob.NewDecoder(bufio.NewReader(io.LimitReader(f, size-int64(len(recordFileHeader)))))
	for {
		saved := &savedRecord{}
		switch err := messages.Decode(saved); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		default:
			all[types.NamespacedName{Namespace: saved.Namespace, Name: saved.Name}] = saved
		}
	}
}

// checkRecordFile returns the bytes before the checksum of a whole file in this format.
func (r *Recorder) checkRecordFile(f *os.File) (size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	most := int64(r.opts.MaxBytes + maxAllSpecBytes) // open blocks and newest specs are counted in the second
	if size = info.Size() - crc32.Size; size > most {
		return 0, fmt.Errorf("the file has %d bytes, at most %d are read", info.Size(), most)
	}
	header := make([]byte, len(recordFileHeader))
	if _, err := io.ReadFull(f, header); err != nil {
		return 0, errors.New("the file is shorter than its header")
	}
	if string(header) != recordFileHeader {
		return 0, errOtherFormat
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	_, _ = sum.Write(header)
	if _, err := io.CopyN(sum, f, size-int64(len(header))); err != nil {
		return 0, errors.New("the file ends before its checksum")
	}
	want := make([]byte, crc32.Size)
	if _, err := io.ReadFull(f, want); err != nil || string(want) != string(sum.Sum(nil)) {
		return 0, errors.New("the checksum of the file is another")
	}
	return size, nil
}
