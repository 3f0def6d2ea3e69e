package load

import "time"

// maxWait is the longest time between two looks at the rate: a step in it shows within this.
const maxWait = 5 * time.Millisecond

// pace turns a rate into the times of requests. The number of requests due by a time is the integral of the rate up
// to it, rounded down: evenly spaced while the rate is constant, and exact in the long run however late it is asked.
type pace struct {
	last   time.Time
	rate   float64 // since last, in requests per second
	credit float64 // requests due since the last whole one, in [0, 1)
}

func newLoadPace(start time.Time) *pace { return &pace{last: start} }

// advanceLoadPace returns how many requests are due at now, and how long to wait before asking again. rate holds from now on;
// what holds up to now is the rate of the call before.
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
