package scrape

// The clock of samples.

import (
	"sync"
	"time"
)

const (
	// clockSlew is the part of the time that passes by which the clock approaches a wall clock that was set: the greatest error of
	// a rate meanwhile. A step of 5 s is gone after 17 minutes.
	clockSlew = 200
	// minSlewStep is the smallest correction: the wall clock is read no more often.
	minSlewStep = time.Millisecond
	// maxClockLag is the lag behind the wall clock from which the clock jumps forward, as after the machine was suspended. It is
	// the longest possible window, so that no rate has samples from both sides of the jump.
	maxClockLag = time.Hour
)

// SampleClock tells the time of samples. It starts with the wall clock and goes on by the monotonic clock: a step of the wall clock,
// by NTP or by a person, would otherwise change the distance of two samples, and so double a rate. The engine that reads the
// samples must take its now from the same Clock. Its methods may be called concurrently.
type SampleClock struct {
	readWall func() time.Time // without a monotonic reading
	wall     time.Time        // at the start, without a monotonic reading
	started  time.Time        // the same moment, with a monotonic reading

	mu       sync.Mutex // guards the fields below
	offset   time.Duration
	slewedAt time.Time // with a monotonic reading
}

// NewSampleClock returns a clock that shows the wall clock's time.
func NewSampleClock() *SampleClock {
	return newSampleClockWithWall(func() time.Time { return time.Now().Round(0) })
}

func newSampleClockWithWall(readWall func() time.Time) *SampleClock {
	now := time.Now()
	return &SampleClock{readWall: readWall, wall: readWall(), started: now, slewedAt: now}
}

// Now returns the time, and moves the clock towards the wall clock.
func (c *SampleClock) Now() time.Time {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if step := now.Sub(c.slewedAt) / clockSlew; step >= minSlewStep {
		c.slewedAt = now
		lag := c.readWall().Sub(c.clockTimeLocked(now))
		if lag < maxClockLag {
			lag = max(-step, min(step, lag))
		}
		c.offset += lag
	}
	return c.clockTimeLocked(now)
}

// clockTimeAt returns the clock's time at a moment of time.Now.
func (c *SampleClock) clockTimeAt(moment time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clockTimeLocked(moment)
}

// clockTimeLocked is clockTimeAt for a caller that holds mu.
func (c *SampleClock) clockTimeLocked(moment time.Time) time.Time {
	return c.wall.Add(moment.Sub(c.started) + c.offset)
}
