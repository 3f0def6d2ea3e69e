// Package report writes measured sections between marks into a Markdown file.
package report

import (
	"fmt"
	"os"
	"strings"
)

// Section is one part of a report.
type Section struct {
	// Command and Part name the marks: the program that writes the section, and the part of it.
	Command, Part string
	// Title is the heading of a new section, without the hashes.
	Title string
}

// Write replaces the text between the section's marks in a file, or appends the section.
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
