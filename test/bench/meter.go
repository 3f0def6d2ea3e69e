// Processor time and resident memory of a process over a time, beside the load of the machine.

package main

import (
	"context"
	"os"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/host"
)

// meter measures a process, and the process that serves it, over a time.
type meter struct {
	measured, serving *process // serving may be nil

	begin                time.Time
	cpu, served, machine time.Duration
	own                  time.Duration // of this process
}

// usage is the result of a meter.
type usage struct {
	elapsed  time.Duration
	cpu      time.Duration // of the measured process
	served   time.Duration // CPU of the process that serves it
	own      time.Duration // CPU of this process
	resident int64         // maximum, in bytes
	foreign  float64       // average number of processors busy with other work
}

// measureBenchWork runs work, or only waits for d if work is nil, and returns the usage.
func (m *meter) measureBenchWork(ctx context.Context, d time.Duration, work func(context.Context) error) (usage, error) {
	if err := m.startBenchMeter(); err != nil {
		return usage{}, err
	}
	done := make(chan error, 1)
	if work != nil {
		go func() { done <- work(ctx) }()
	}
	var most int64
	for {
		resident, err := m.measured.benchChildResidentBytes()
		if err != nil {
			return usage{}, err
		}
		most = max(most, resident)
		select {
		case <-ctx.Done():
			return usage{}, ctx.Err()
		case err := <-done:
			if err != nil {
				return usage{}, err
			}
			return m.stopBenchMeter(most)
		case <-time.After(min(time.Second, time.Until(m.begin.Add(d)))):
			if work == nil && time.Since(m.begin) >= d {
				return m.stopBenchMeter(most)
			}
		}
	}
}

// readMeterClocks returns the CPU times of the processes and of the machine.
func (m *meter) readMeterClocks() (cpu, served, own, machine time.Duration, err error) {
	if cpu, err = host.CPUTime(m.measured.benchChildPID()); err != nil {
		return
	}
	if m.serving != nil {
		if served, err = host.CPUTime(m.serving.benchChildPID()); err != nil {
			return
		}
	}
	if own, err = host.CPUTime(os.Getpid()); err != nil {
		return
	}
	machine, err = host.Busy()
	return
}

func (m *meter) startBenchMeter() (err error) {
	m.begin = time.Now()
	m.cpu, m.served, m.own, m.machine, err = m.readMeterClocks()
	return err
}

func (m *meter) stopBenchMeter(resident int64) (usage, error) {
	cpu, served, own, machine, err := m.readMeterClocks()
	u := usage{
		elapsed: time.Since(m.begin), cpu: cpu - m.cpu, served: served - m.served, own: own - m.own, resident: resident,
	}
	foreign := machine - m.machine - u.cpu - u.served - u.own
	u.foreign = max(0, foreign.Seconds()/u.elapsed.Seconds())
	return u, err
}
