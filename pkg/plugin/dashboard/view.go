package dashboard

// This file holds the data of the page, as JSON.

import (
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/top"
)

// snapshot is one look at the cluster.
type snapshot struct {
	Sequence  int64     `json:"sequence"` // 0 before the first look
	Started   time.Time `json:"started"`
	Time      time.Time `json:"time,omitzero"` // of the last look that could list autoscalers
	Context   string    `json:"context"`
	Namespace string    `json:"namespace"` // empty: all
	Interval  float64   `json:"interval"`  // in seconds

	Autoscalers []autoscalerView   `json:"autoscalers"`
	Faults      []faultView        `json:"faults"`
	Targets     targetList         `json:"targets"`
	Families    familyList         `json:"families"`
	Holds       holdList           `json:"holds"`
	Calendars   calendarList       `json:"calendars"`
	Unread      []inventory.Unread `json:"unread,omitempty"`
	// Failed is set while autoscalers cannot be listed: the rest is then as of Time.
	Failed  *failedLook `json:"failed,omitempty"`
	Command string      `json:"command"`
}

// failedLook is the cause of looks that failed, and the time of the first one.
type failedLook struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// autoscalerView is a row of the table.
type autoscalerView struct {
	top.Row
	Sentence string             `json:"sentence"`
	Commands autoscalerCommands `json:"commands"`
}

// autoscalerCommands are the page's commands about an autoscaler, for a terminal.
type autoscalerCommands struct {
	Explain   string   `json:"explain"`
	Decisions string   `json:"decisions"` // of the adapter's record
	Doctor    string   `json:"doctor"`
	Numbers   string   `json:"numbers"`
	Events    string   `json:"events"`
	Pods      string   `json:"pods,omitempty"`   // empty: the pods are unknown
	Values    []string `json:"values,omitempty"` // one for each metric; empty: it cannot be read
}

// faultView is a metric without a value, or a pod that a value lacks.
type faultView struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Metric    string `json:"metric"`
	Pod       string `json:"pod,omitempty"` // empty: the whole metric
	Reason    string `json:"reason"`
	Command   string `json:"command"`
}

// autoscalerDetail is the page of one autoscaler.
type autoscalerDetail struct {
	autoscalerView
	Time        time.Time            `json:"time"`
	Explanation *explain.Explanation `json:"explanation"`
	Series      autoscalerSeries     `json:"series"`
	Decisions   []Decision           `json:"decisions"`
	// KnownSince is the time since which all decisions are known.
	KnownSince time.Time `json:"knownSince"`
	// Recorded is set where the decisions are the adapter's record. DecisionsError is the reason why they are the server's own.
	Recorded       bool   `json:"recorded,omitempty"`
	DecisionsError string `json:"decisionsError,omitempty"`
}

// autoscalerSeries are the recorded numbers by column, oldest first. A null is a number that could not be read.
type autoscalerSeries struct {
	Time    []int64        `json:"time"` // Unix seconds
	Wanted  []int32        `json:"wanted"`
	Pods    []int32        `json:"pods"`
	Ready   []*int         `json:"ready"`
	Metrics []metricSeries `json:"metrics"`
}

// metricSeries are the numbers of a metric. Value is in the terms of Target: for each pod, in all, or in percent.
type metricSeries struct {
	Name   string     `json:"name"`
	Load   []*float64 `json:"load"`
	Value  []*float64 `json:"value"`
	Target *float64   `json:"target"`
	Rate   bool       `json:"rate"`    // per second
	Share  bool       `json:"share"`   // Value is for each pod
	Usage  bool       `json:"percent"` // Value and Target are in percent
}
