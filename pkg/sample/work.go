// This file serves /work, which burns CPU time.

package sample

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"time"
)

// serveWorkRequest burns N milliseconds of CPU time: GET /work?ms=N.
func (s *Service) serveWorkRequest(w http.ResponseWriter, r *http.Request) {
	most := s.cfg.WorkMax.Milliseconds()
	ms, err := strconv.ParseInt(r.URL.Query().Get("ms"), 10, 64)
	if err != nil || ms < 0 || ms > most {
		writeResponseError(w, r, http.StatusBadRequest, fmt.Sprintf("ms must be a whole number from 0 to %d", most))
		return
	}
	// More workers than CPUs would not finish sooner, and each holds a thread.
	select {
	case s.cpus <- struct{}{}:
		defer func() { <-s.cpus }()
	case <-r.Context().Done():
		writeUnfinishedRequest(w, r, r.Context().Err(), "no CPU came free in time")
		return
	}
	if err := burnWorkCPU(r.Context(), time.Duration(ms)*time.Millisecond); err != nil {
		writeUnfinishedRequest(w, r, err, "the work took too long")
		return
	}
	writeResponseJSON(w, http.StatusOK, fmt.Appendf(nil, `{"cpu_ms":%d}`+"\n", ms))
}

// burnWorkCPU spends d of CPU time, not of wall time: a throttled pod takes longer for the same work, as with real work.
// It returns ctx's error when ctx ends first.
func burnWorkCPU(ctx context.Context, d time.Duration) error {
	clock, release := workRequestThreadClock()
	defer release()
	x := uint64(88172645463325252)
	for start := clock(); clock()-start < d; {
		if err := ctx.Err(); err != nil {
			return err
		}
		x = spinXorshift(x)
	}
	runtime.KeepAlive(x) // else the compiler may remove the work
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
