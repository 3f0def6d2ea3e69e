package sample

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"time"
)

// serveWork burns the CPU time that the request asks for: GET /work?ms=N.
func (s *Service) serveWork(w http.ResponseWriter, r *http.Request) {
	most := s.cfg.WorkMax.Milliseconds()
	ms, err := strconv.ParseInt(r.URL.Query().Get("ms"), 10, 64)
	if err != nil || ms < 0 || ms > most {
		writeError(w, r, http.StatusBadRequest, fmt.Sprintf("ms must be a whole number from 0 to %d", most))
		return
	}
	// More at once than there are CPUs would not be done sooner, and each holds a thread.
	select {
	case s.cpus <- struct{}{}:
		defer func() { <-s.cpus }()
	case <-r.Context().Done():
		writeUnfinished(w, r, r.Context().Err(), "no CPU came free in time")
		return
	}
	if err := burnCPU(r.Context(), time.Duration(ms)*time.Millisecond); err != nil {
		writeUnfinished(w, r, err, "the work took too long")
		return
	}
	writeJSON(w, http.StatusOK, fmt.Appendf(nil, `{"cpu_ms":%d}`+"\n", ms))
}

// burnCPU spends d of CPU time, not of the clock: a pod that is throttled or shares its CPU takes longer for the same
// work, as real work would. It returns ctx's error when ctx ends first.
func burnCPU(ctx context.Context, d time.Duration) error {
	clock, release := threadClock()
	defer release()
	x := uint64(88172645463325252)
	for start := clock(); clock()-start < d; {
		if err := ctx.Err(); err != nil {
			return err
		}
		x = spinXorshift(x)
	}
	runtime.KeepAlive(x) // or the compiler may leave the work out
	return nil
}

// spinXorshift computes for some 20 µs, so that reading the clock in between costs little: Marsaglia's xorshift64.
func spinXorshift(x uint64) uint64 {
	for range 20_000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}
