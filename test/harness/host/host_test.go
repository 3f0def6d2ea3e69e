package host

import (
	"os"
	"runtime"
	"testing"
)

// TestMemoryOfProcess: a process that lives has a resident memory of some size, and never more than its peak.
func TestMemoryOfProcess(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: needs Linux and its /proc")
	}
	resident, err := Resident(os.Getpid())
	if err != nil || resident < 1<<20 {
		t.Errorf("%d bytes are resident, %v", resident, err)
	}
	if peak, err := PeakResident(os.Getpid()); err != nil || peak < resident {
		t.Errorf("the peak is %d bytes, %v; %d were resident before", peak, err, resident)
	}
	if n, err := Resident(1 << 30); err == nil {
		t.Errorf("a process that does not exist has %d bytes", n)
	}
}
