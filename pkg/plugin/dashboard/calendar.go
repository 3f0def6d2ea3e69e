package dashboard

// This file keeps the windows of the scaler's schedules, which another package computes: the plugin's packages know nothing of the scaler's code.

import (
	"context"
	"strings"
	"time"
)

// slowInterval is the pause between two reads of the calendar, seldom changed, and of the targets, a long list in a large cluster.
const slowInterval = 30 * time.Second

// CalendarReader reads the schedules of the cluster's scalers.
type CalendarReader interface {
	// ReadCalendars returns one calendar for each configuration of a scaler. The error says why none could be found.
	ReadCalendars(ctx context.Context, now time.Time) ([]Calendar, error)
}

// Calendar has the windows of a scaler's schedules, now and next.
type Calendar struct {
	Namespace string           `json:"namespace"` // of the ConfigMap
	ConfigMap string           `json:"configMap"`
	Key       string           `json:"-"` // of the configuration in the ConfigMap
	Windows   []CalendarWindow `json:"windows"`
	Error     string           `json:"error,omitempty"`
	// Command shows the same in a terminal. The server writes it.
	Command string `json:"command"`
}

// CalendarWindow is a window of a schedule for one workload.
type CalendarWindow struct {
	Namespace   string    `json:"namespace"`
	Workload    string    `json:"workload"` // KIND/NAME
	Schedule    string    `json:"schedule"`
	Window      string    `json:"window"`
	MinReplicas int32     `json:"minReplicas"`
	MaxReplicas int32     `json:"maxReplicas,omitempty"` // 0: no maximum
	From        time.Time `json:"from"`
	Until       time.Time `json:"until"`
	Paused      bool      `json:"paused,omitempty"` // it sets nothing
}

// calendarList has the calendars, or the cause for which there are none.
type calendarList struct {
	Items []Calendar `json:"items"`
	Error string     `json:"error,omitempty"`
	read  time.Time
}

// readCalendarList returns the calendars of the last read, or reads them again.
func (s *PageServer) readCalendarList(ctx context.Context, last calendarList, now time.Time) calendarList {
	if s.opts.Calendars == nil || !last.read.IsZero() && now.Sub(last.read) < slowInterval {
		return last
	}
	items, err := s.opts.Calendars.ReadCalendars(ctx, now)
	list := calendarList{Items: append([]Calendar{}, items...), read: now}
	if err != nil {
		list.Error = err.Error()
	}
	for i := range list.Items {
		c := &list.Items[i]
		c.Windows = append([]CalendarWindow{}, c.Windows...)
		c.Command = s.newCommandWriter(c.Namespace).writeCalendarCommand(c.ConfigMap, c.Key)
	}
	return list
}

// writeCalendarCommand prints the configuration in a ConfigMap, and has the scaler's program compute the same windows.
func (w pageCommandWriter) writeCalendarCommand(name, key string) string {
	path := "jsonpath={.data." + strings.ReplaceAll(key, ".", `\.`) + "}"
	return w.writeShellCommand("kubectl", "get", "configmap", name, "-o", path) + " | tachometer-scaler schedule preview --config /dev/stdin"
}
