package recorder

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// restart makes a new process of the service's adapter, half a minute later, and returns its log, which goes on.
func (s *loadedService) restart() (log *strings.Builder) {
	s.t.Helper()
	lines := &strings.Builder{}
	logger := funcr.New(func(prefix, args string) { lines.WriteString(prefix + args + "\n") }, funcr.Options{})
	s.now = s.now.Add(30 * time.Second)
	opts := s.recorder.opts
	opts.Registerer = nil
	s.recorder = New(opts)
	s.recorder.SetScaleTargets(s)
	s.recorder.RestoreRecords(klog.NewContext(s.t.Context(), logger))
	s.recorded = s.recorder.Record(s)
	return lines
}

// observeList shows the recorder the autoscaler as a new list does.
func (s *loadedService) observeList() {
	s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
	s.recorder.RetainAutoscalers(func(_, name string) bool { return name == s.hpa.Name })
}

// newSavedService returns a service with a saved record of several blocks.
func newSavedService(t testing.TB, looks int) *loadedService {
	t.Helper()
	s := newLoadedService(t, "web", Options{Directory: t.TempDir()})
	for i := range looks {
		s.load = float64(100_000 * (1 + i%7))
		s.look()
	}
	if err := s.recorder.saveRecords(); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRecordSurvivesRestart: the decisions of before a restart are the same after it, the next ones come behind them, and the log tells the gap.
func TestRecordSurvivesRestart(t *testing.T) {
	t.Parallel()
	s := newSavedService(t, 120)
	before, saved := logOf(t, s, noon), s.now
	if log := s.restart().String(); !strings.Contains(log, `"Record of decisions restored" "hpas"=1`) {
		t.Errorf("log %q", log)
	}
	s.observeList()
	after := logOf(t, s, noon)
	gap := explainapi.Gap{From: saved.UTC(), Until: s.now.UTC()}
	if diff := cmp.Diff([]explainapi.Gap{gap}, after.Source.Gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if !after.Source.UnknownBefore.Equal(before.Source.UnknownBefore) {
		t.Errorf("unknown before %s, was %s", after.Source.UnknownBefore, before.Source.UnknownBefore)
	}
	after.Source = before.Source
	if diff := cmp.Diff(before, after); diff != "" {
		t.Fatalf("(-before +after the restart):\n%s", diff)
	}
	for range 30 {
		s.look()
	}
	later := logOf(t, s, noon)
	if len(later.Decisions) != len(before.Decisions)+30 || len(later.Specs) != 1 {
		t.Errorf("%d decisions under %d specs, want %d under 1", len(later.Decisions), len(later.Specs), len(before.Decisions)+30)
	}
	for _, l := range replay.Reproduce(later, replay.Settings())[1:] { // before the first look nothing is decided
		if l.Missing != "" || l.Differs() {
			t.Errorf("look at %s: recorded %d, computed %d, missing %q", l.Time, l.Recorded, l.Computed, l.Missing)
		}
	}
	rec := s.recorder.records[types.NamespacedName{Namespace: "shop", Name: "web"}]
	if s.recorder.used != rec.bytes || rec.bytes == 0 {
		t.Errorf("%d bytes are counted, the record has %d", s.recorder.used, rec.bytes)
	}
}

// TestSaveBeforeTheFirstList: a record survives a process that ends, or saves, before kube-apiserver has listed the autoscaler.
func TestSaveBeforeTheFirstList(t *testing.T) {
	t.Parallel()
	s := newSavedService(t, 60)
	before := logOf(t, s, noon)
	s.restart()
	if err := s.recorder.saveRecords(); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.observeList()
	if after := logOf(t, s, noon); len(after.Decisions) != len(before.Decisions) || len(after.Source.Gaps) != 1 {
		t.Errorf("%d decisions with the gaps %v, want %d with one gap", len(after.Decisions), after.Source.Gaps, len(before.Decisions))
	}
}

// TestPartOfARecord: a record in a whole file that lacks its specs or blocks, or names others, is not restored, and ends no start. The log names its
// autoscaler.
func TestPartOfARecord(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*savedRecord){
		"no specs":              func(r *savedRecord) { r.Specs = nil },
		"no blocks":             func(r *savedRecord) { r.Blocks = nil },
		"neither":               func(r *savedRecord) { r.Specs, r.Blocks = nil, nil },
		"a spec beyond the end": func(r *savedRecord) { r.Blocks[len(r.Blocks)-1].Spec = len(r.Specs) },
		"a spec before 0":       func(r *savedRecord) { r.Blocks[0].Spec = -1 },
		"a spec of other bytes": func(r *savedRecord) { r.Specs[0].Spec = []byte("spec") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSavedService(t, 60)
			s.restart()
			saved := s.recorder.saved[types.NamespacedName{Namespace: "shop", Name: "web"}]
			spoil(saved)
			if err := s.recorder.saveRecords(); err != nil {
				t.Fatal(err)
			}
			lines := s.restart()
			s.observeList()
			_, line, found := strings.Cut(lines.String(), `"Record of decisions starts empty, the saved one is damaged" "error"=`)
			if !found || !strings.HasSuffix(line, ` "namespace"="shop" "hpa"="web"`+"\n") {
				t.Errorf("log %q", lines)
			}
			if log := logOf(t, s, noon); len(log.Source.Gaps) != 0 || log.Source.UnknownBefore.Before(s.now) || s.recorder.used != 0 {
				t.Errorf("unknown before %s, gaps %v, %d bytes", log.Source.UnknownBefore, log.Source.Gaps, s.recorder.used)
			}
		})
	}
}

// TestRecordOfAnotherAutoscaler: the record of a deleted autoscaler, and of one that was made anew, ends with the restart.
func TestRecordOfAnotherAutoscaler(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*loadedService){
		"made anew": func(s *loadedService) { s.hpa.UID = "another"; s.observeList() },
		"deleted, made later": func(s *loadedService) {
			s.recorder.RetainAutoscalers(func(string, string) bool { return false })
			s.observeList()
		},
		"deleted between list and watch": func(s *loadedService) {
			s.recorder.ForgetAutoscaler("shop", "web")
			s.observeList()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSavedService(t, 60)
			s.restart()
			change(s)
			log := logOf(t, s, noon)
			if len(log.Source.Gaps) != 0 || log.Source.UnknownBefore.Before(s.now) || s.recorder.used != 0 || len(s.recorder.saved) != 0 {
				t.Errorf("unknown before %s, gaps %v, %d bytes, %d waiting", log.Source.UnknownBefore, log.Source.Gaps, s.recorder.used, len(s.recorder.saved))
			}
		})
	}
}

// TestDamagedRecordFile: a file that is cut, changed in a byte, too large or of another version is not used, and the log says why.
func TestDamagedRecordFile(t *testing.T) {
	t.Parallel()
	s := newSavedService(t, 60)
	path := filepath.Join(s.recorder.opts.Directory, recordFileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name, reason string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if log := s.restart().String(); !strings.Contains(log, "starts empty") || !strings.Contains(log, reason) || len(s.recorder.saved) != 0 {
			t.Errorf("%s: %d records, log %q, want the reason %q", name, len(s.recorder.saved), log, reason)
		}
	}
	for size := 0; size < len(whole); size += 1 + size/20 {
		try("cut", "", whole[:size])
	}
	for at := 0; at < len(whole); at += 1 + at/20 {
		changed := bytes.Clone(whole)
		changed[at] ^= 0x10
		try("changed", "", changed)
	}
	try("empty", "shorter than its header", nil)
	try("cut at the end", "checksum", whole[:len(whole)-1])
	try("longer", "checksum", append(bytes.Clone(whole), 0))
	try("another version", errOtherFormat.Error(), bytes.Replace(whole, []byte("format "+recordFormat), []byte("format 0"), 1))
	s.recorder.opts.MaxBytes = -maxAllSpecBytes + len(whole)/2
	try("too large", "at most", whole)
}

// TestFailedSave: a save that fails leaves the file as it was, is counted, and leaves no other file behind.
func TestFailedSave(t *testing.T) {
	t.Parallel()
	s := newSavedService(t, 60)
	directory := s.recorder.opts.Directory
	whole, err := os.ReadFile(filepath.Join(directory, recordFileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.recorder.writeRecordFile(fullDisk{}); !errors.Is(err, errFullDisk) {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(directory, "decisions-1.partial"), whole[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	s.restart()
	files, err := os.ReadDir(directory)
	if err != nil || len(files) != 1 || len(s.recorder.saved) != 1 {
		t.Errorf("files %v (%v), %d records", files, err, len(s.recorder.saved))
	}
	s.recorder.opts.Directory = filepath.Join(directory, "missing")
	if err := s.recorder.saveRecords(); err == nil {
		t.Error("a directory that does not exist takes a save")
	}
	if log := s.restart().String(); log != "" && !strings.Contains(log, "restored") {
		t.Errorf("without a file the log is %q", log)
	}
}

var errFullDisk = errors.New("no space left on device")

// fullDisk takes no bytes.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFullDisk }

// TestRestoredBound: a restored record keeps within the bounds of the process that restores it.
func TestRestoredBound(t *testing.T) {
	t.Parallel()
	s := newSavedService(t, 300)
	s.recorder.opts.MaxRecordBytes = 6000
	s.restart()
	s.observeList()
	if log := logOf(t, s, noon); s.recorder.used > 6000 || s.recorder.used == 0 || !log.Source.UnknownBefore.After(noon) || len(log.Decisions) == 0 {
		t.Errorf("%d bytes, unknown before %s, %d decisions", s.recorder.used, log.Source.UnknownBefore, len(log.Decisions))
	}
}

// TestFormatOfRecordFile: this program reads the file that the first with its format wrote. If it cannot, recordFormat takes the next number.
func TestFormatOfRecordFile(t *testing.T) {
	t.Parallel()
	s := newSavedService(t, 40)
	want := logOf(t, s, noon)
	path := filepath.Join(s.recorder.opts.Directory, recordFileName)
	const pinned = "testdata/decisions-" + recordFormat
	data, err := os.ReadFile(pinned)
	if errors.Is(err, os.ErrNotExist) && golden.Updates() { // it is written once, and never anew
		if data, err = os.ReadFile(path); err == nil {
			err = os.WriteFile(pinned, data, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.observeList()
	got := logOf(t, s, noon)
	got.Source = want.Source
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-recorded +read from %s):\n%s", pinned, diff)
	}
}

// TestStartsOfPodsAreObservedOnce: pods that were ready before a restart do not count as started again.
func TestStartsOfPodsAreObservedOnce(t *testing.T) {
	t.Parallel()
	s := newSavedService(t, 60)
	s.recorder.opts.RuleName = func(_, _, metric string, _ bool) string { return metric }
	s.restart()
	reg := prometheus.NewRegistry()
	s.recorder.metrics = newMetrics(reg, s.recorder)
	s.observeList()
	s.load = 5000 * float64(len(s.pods))
	s.look()
	if got := gatherReactions(t, reg, "web_per_second"); got[stageStart] != 0 || got[stageSample] != 1 {
		t.Errorf("observations by stage %v, want no start of %d old pods", got, len(s.pods))
	}
}
