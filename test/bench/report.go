package main

import (
	"fmt"
	"os"
	"strings"
)

// titles are the headings of the parts.
var titles = map[string]string{
	"scraping":  "## Scraping: beside Prometheus",
	"answering": "## Answering: a read of twenty pods out of a thousand",
}

// section replaces what stands between the marks of a part in a report, or adds the part at the end.
func section(file, part, text string) error {
	report, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	written, err := replace(string(report), part, text)
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.WriteFile(file, []byte(written), 0o644)
}

func replace(report, part, text string) (string, error) {
	begin, end := fmt.Sprintf("<!-- test/bench %s: begin -->\n", part), fmt.Sprintf("<!-- test/bench %s: end -->", part)
	if !strings.Contains(report, begin) {
		report = strings.TrimRight(report, "\n") + "\n\n" + titles[part] + "\n\n" + begin + end + "\n"
	}
	before, rest, _ := strings.Cut(report, begin)
	_, after, ends := strings.Cut(rest, end)
	if !ends {
		return "", fmt.Errorf("section %s does not end with %q", part, end)
	}
	return before + begin + "\n" + text + end + after, nil
}
