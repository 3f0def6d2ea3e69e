package schedule_test

import (
	"fmt"
	"os"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// A shop has more pods by day, and a ramp that lets them start one after the other. The preview shows the day of a sale.
func ExamplePreview() {
	const file = `
- name: office-hours
  namespace: shop
  workloads: [deploy/web]
  windows:
  - {name: day, start: "08:00", end: "22:00", minReplicas: 8, ramp: {over: 10m, steps: 2}}
  - {name: night, start: "22:00", end: "08:00", minReplicas: 2}
- name: sale
  namespace: shop
  workloads: [deploy/web]
  windows:
  - {name: friday, from: 2026-11-27 12:00, to: 2026-11-27 18:00, minReplicas: 20, maxReplicas: 40}
`
	decoder := strict.NewDecoder()
	schedules := schedule.DecodeAll(decoder, "schedules", decoder.ParseDocument([]byte(file)))
	if err := decoder.Faults.Err(); err != nil {
		fmt.Println(err)
		return
	}
	from := time.Date(2026, 11, 27, 6, 0, 0, 0, time.UTC)
	if err := schedule.WriteTable(os.Stdout, schedule.Preview(schedules, schedule.StartAt(from), 24*time.Hour)); err != nil {
		fmt.Println(err)
	}
	// Output:
	// FROM                         TO                           ZONE  WORKLOAD             MINREPLICAS  MAXREPLICAS  SCHEDULE      WINDOW  NOTES
	// Fri 2026-11-27 06:00 +00:00  Fri 2026-11-27 08:00 +00:00  UTC   deployment/web.shop  2            -            office-hours  night
	// Fri 2026-11-27 08:00 +00:00  Fri 2026-11-27 08:05 +00:00  UTC   deployment/web.shop  2            -            office-hours  day  ramp
	// Fri 2026-11-27 08:05 +00:00  Fri 2026-11-27 08:10 +00:00  UTC   deployment/web.shop  5            -            office-hours  day  ramp
	// Fri 2026-11-27 08:10 +00:00  Fri 2026-11-27 12:00 +00:00  UTC   deployment/web.shop  8            -            office-hours  day
	// Fri 2026-11-27 12:00 +00:00  Fri 2026-11-27 18:00 +00:00  UTC   deployment/web.shop  20           40           sale          friday  shadows office-hours (day), minReplicas 8
	// Fri 2026-11-27 18:00 +00:00  Fri 2026-11-27 22:00 +00:00  UTC   deployment/web.shop  8            -            office-hours  day
	// Fri 2026-11-27 22:00 +00:00  Sat 2026-11-28 06:00 +00:00  UTC   deployment/web.shop  2            -            office-hours  night
}
