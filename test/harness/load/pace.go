package load

import "time"

// maxWait is the maximum time between two looks at the rate: a step of the rate takes effect within it.
const maxWait = 5 * time.Millisecond

// pace turns a rate into the times of requests. The number of requests due by a time is the integral of the rate up to it, rounded
// down: evenly spaced while the rate is constant, and exact in the long run even if calls come late.
type pace struct {
	last   time.Time
	rate   float64 // since last, in requests per second
	credit float64 // fraction of the next request, in [0, 1)
}

func newLoadPace(start time.Time) *pace { return &pace{last: start} }

// advanceLoadPace returns the number of requests due at now, and the time until the next call. rate holds from now on; up to now the
// rate of the previous call holds.
func (p *pace) advanceLoadPace(now time.Time, rate float64) (due int, wait time.Duration) {
	p.credit += p.rate * now.Sub(p.last).Seconds()
	p.last, p.rate = now, max(rate, 0)
	due = int(p.credit)
	p.credit -= float64(due)
	wait = maxWait
	if missing := (1 - p.credit) / p.rate; missing < maxWait.Seconds() { // p.rate 0: +Inf
		wait = time.Duration(missing * float64(time.Second))
	}
	return due, max(wait, 50*time.Microsecond) // above some 20,000 a second several requests are due at once
}
