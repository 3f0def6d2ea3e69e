// The sections of the report, and their replacement in the file of the results.

package main

import "github.com/tachometer-metrics/tachometer/test/bench/internal/report"

// titles are the headings of the parts.
var titles = map[string]string{
	"scraping":   "Scraping: beside Prometheus",
	"answering":  "Answering: a read of twenty pods out of a thousand",
	"evaluating": "Evaluating: an expression over the store",
	"lane":       "The surge lane: reads each second",
	"memory":     "Memory: five thousand pods",
}

// replaceBenchSection replaces the text between a part's marks in a report, or appends the part.
func replaceBenchSection(file, part, text string) error {
	return report.Section{Command: "test/bench", Part: part, Title: titles[part]}.Write(file, text)
}
