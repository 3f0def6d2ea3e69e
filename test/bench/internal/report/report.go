// Package report writes measured sections between marks into a Markdown file.
package report

import (
	"fmt"
	"os"
	"strings"
)

// Section is one part of a report.
type Section struct {
	// Command and Part name the marks: who writes the section, and which of its parts it is.
	Command, Part string
	// Title is the heading that the section gets where it is new, without the hashes.
	Title string
}

// Write replaces what stands between the marks of the section in a file, or adds the section at the end.
func (s Section) Write(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	written, err := s.replaceInReport(string(old), text)
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.WriteFile(file, []byte(written), 0o644)
}

func (s Section) replaceInReport(report, text string) (string, error) {
	begin := fmt.Sprintf("<!-- %s %s: begin -->\n", s.Command, s.Part)
	end := fmt.Sprintf("<!-- %s %s: end -->", s.Command, s.Part)
	if !strings.Contains(report, begin) {
		report = strings.TrimRight(report, "\n") + "\n\n## " + s.Title + "\n\n" + begin + end + "\n"
	}
	before, rest, _ := strings.Cut(report, begin)
	_, after, ends := strings.Cut(rest, end)
	if !ends {
		return "", fmt.Errorf("section %s does not end with %q", s.Part, end)
	}
	return before + begin + "\n" + text + end + after, nil
}
