// Package timeline records the offered load, the served metric and the pods of a run, second by second, and draws them.
package timeline

import (
	"fmt"
	"math"
	"time"
)

// Point is one second of a run.
type Point struct {
	// At is the time since the start of the run.
	At time.Duration
	// Offered is the sent load, in requests per second.
	Offered float64
	// Served is the API's sum of the metric over the pods, in requests per second; NaN if the API had no value.
	Served float64
	// PerPod holds the values behind Served, in the order of the pods' names.
	PerPod []float64
	// Age is the age of the oldest value behind Served.
	Age time.Duration
	// Desired is the HPA's desired replicas, Ready the number of ready pods.
	Desired, Ready int
	// Reason is the API's reason for a missing value.
	Reason string
}

// Header is the first line of a table; Point.Row returns the other lines.
const Header = "  time   offered    served    age  desired  ready  per pod\n" +
	"             req/s     req/s      s     pods   pods  req/s"

// Row returns the point as a line of the table.
func (p Point) Row() string {
	served, age := "       -", "    -"
	if !math.IsNaN(p.Served) {
		served, age = fmt.Sprintf("%8.1f", p.Served), fmt.Sprintf("%5.1f", p.Age.Seconds())
	}
	return fmt.Sprintf("%5.0fs  %8.1f  %s  %s  %7d  %5d  %s",
		p.At.Seconds(), p.Offered, served, age, p.Desired, p.Ready, p.pointDetail())
}

func (p Point) pointDetail() string {
	if math.IsNaN(p.Served) {
		return p.Reason
	}
	s := ""
	for i, v := range p.PerPod {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("%.0f", v)
	}
	return s
}
