package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documentedPath is a path of this repository in backquotes; a dot-dot-dot or a star ends it.
var documentedPath = regexp.MustCompile("`((?:cmd|pkg|test|manifests|docs)/[\\w./-]*?)/?(?:…|\\*[^`]*)?`")

// TestDocumentedPaths: every path that a document names in backquotes exists.
func TestDocumentedPaths(t *testing.T) {
	t.Parallel()
	found := 0
	for _, file := range listFiles(t) {
		if !strings.HasSuffix(file, ".md") || file == "CHANGELOG.md" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue // deleted, and not committed yet
		}
		for _, match := range documentedPath.FindAllStringSubmatch(string(data), -1) {
			found++
			if _, err := os.Stat(filepath.Join(root, match[1])); err != nil {
				t.Errorf("%s names %s, which does not exist", file, match[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("%d paths found in documents: the pattern does not recognise them", found)
	}
}

var (
	// documentLink is a link or picture, in Markdown or HTML, to a file of this repository or to a heading.
	documentLink = regexp.MustCompile(`(?:\]\(|\b(?:src|srcset)=")([^()"\s:]+)[)"]`)
	// documentCode is a block or span of code, in which nothing is a link.
	documentCode = regexp.MustCompile("(?s)```.*?\n *```|`[^`\n]*`")
	heading      = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	// notInAnchors is what GitHub leaves out of the anchor of a heading.
	notInAnchors = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestDocumentLinks: every link of a document leads to a file of this repository, and its anchor to a heading there.
func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	files := map[string]bool{}
	for _, file := range listFiles(t) {
		for ; file != "."; file = filepath.Dir(file) {
			files[file] = true
		}
	}
	found := 0
	for file := range files {
		if !strings.HasSuffix(file, ".md") || strings.Contains(file, "/testdata/") { // parts of documents of other folders
			continue
		}
		for _, link := range documentLink.FindAllStringSubmatch(documentCode.ReplaceAllString(readDocument(t, file), ""), -1) {
			found++
			path, anchor, _ := strings.Cut(link[1], "#")
			to := file
			if path != "" {
				to = filepath.Join(filepath.Dir(file), path)
			}
			switch {
			case !files[to]:
				t.Errorf("%s: link to %s, which does not exist", file, link[1])
			case anchor != "" && !documentAnchors(readDocument(t, to))[anchor]:
				t.Errorf("%s: link to %s, and %s has no such heading", file, link[1], to)
			}
		}
	}
	if found < 100 {
		t.Errorf("%d links found in documents: the pattern does not recognise them", found)
	}
}

// documentAnchors returns the anchors that GitHub gives the headings of a document.
func documentAnchors(document string) map[string]bool {
	anchors := map[string]bool{}
	fences := regexp.MustCompile("(?s)```.*?\n *```").ReplaceAllString(document, "")
	for _, h := range heading.FindAllStringSubmatch(fences, -1) {
		anchors[strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimSpace(h[1])), ""), " ", "-")] = true
	}
	return anchors
}

// readDocument returns a file of the repository; empty if it is deleted, and that is not committed yet.
func readDocument(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

var (
	// selectedLogs is a command that reads the logs of pods by their labels.
	selectedLogs = regexp.MustCompile(`kubectl [^|\n#]*\blogs [^|\n#]*(-l|--selector)[ =][^|\n#]*`)
	// deploymentLogs is a command that reads the logs of a Deployment.
	deploymentLogs = regexp.MustCompile(`kubectl [^|\n#]*\blogs [^|\n#]*\bdeploy(ments?)?(\.apps)?/[^|\n#]*`)
)

// TestDocumentedLogCommands: kubectl reads ten lines of each pod where a selector names the pods, and --tail does not say otherwise. Of a
// Deployment it reads one pod, which may not be the replica that leads.
func TestDocumentedLogCommands(t *testing.T) {
	t.Parallel()
	found := 0
	for _, file := range listFiles(t) {
		if ext := filepath.Ext(file); ext != ".md" && ext != ".txt" && ext != ".tpl" {
			continue
		}
		for _, command := range selectedLogs.FindAllString(readDocument(t, file), -1) {
			found++
			if !strings.Contains(command, "--tail") {
				t.Errorf("%s: %q reads ten lines: add --tail=-1", file, strings.TrimSpace(command))
			}
		}
		if command := deploymentLogs.FindString(readDocument(t, file)); command != "" {
			t.Errorf("%s: %q reads one replica: name the pods by -l", file, strings.TrimSpace(command))
		}
	}
	if found == 0 {
		t.Error("no command found: the pattern does not recognise them")
	}
}

var (
	documentedTest = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")
	testFunction   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
)

// TestDocumentedTests: every test that a document names exists.
func TestDocumentedTests(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	files := listFiles(t)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			for _, f := range testFunction.FindAllStringSubmatch(readDocument(t, file), -1) {
				exists[f[1]] = true
			}
		}
	}
	found := 0
	for _, file := range files {
		if !strings.HasSuffix(file, ".md") || file == "CHANGELOG.md" {
			continue
		}
		for _, name := range documentedTest.FindAllStringSubmatch(readDocument(t, file), -1) {
			found++
			if !exists[name[1]] {
				t.Errorf("%s names the test %s, which does not exist", file, name[1])
			}
		}
	}
	if found < 50 {
		t.Errorf("%d tests found in documents: the pattern does not recognise them", found)
	}
}

var (
	documentedTarget = regexp.MustCompile("(?m)(?:^|`)(?:[A-Z]+=\\S+ )*make ([a-z][a-z0-9-]*)[^\n`]*`|^(?:[A-Z]+=\\S+ )*make ([a-z][a-z0-9-]*)(?: +#.*| [A-Z]+=.*)?$")
	makeTarget       = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)
)

// TestDocumentedTargets: every target of make that a document names exists.
func TestDocumentedTargets(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	for _, target := range makeTarget.FindAllStringSubmatch(readDocument(t, "Makefile"), -1) {
		exists[target[1]] = true
	}
	found := 0
	for _, file := range listFiles(t) {
		if !strings.HasSuffix(file, ".md") || file == "CHANGELOG.md" {
			continue
		}
		for _, target := range documentedTarget.FindAllStringSubmatch(readDocument(t, file), -1) {
			found++
			if name := target[1] + target[2]; !exists[name] {
				t.Errorf("%s names the target %s, which the Makefile does not have", file, name)
			}
		}
	}
	if found < 30 {
		t.Errorf("%d targets found in documents: the pattern does not recognise them", found)
	}
}

// TestReadmeFirstScreen: a visitor reads 30 lines of README.md, and then knows what Tachometer is, its figure, and each way on.
func TestReadmeFirstScreen(t *testing.T) {
	t.Parallel()
	const lines = 30
	screen := strings.Join(strings.SplitN(readDocument(t, "README.md"), "\n", lines+1)[:lines], "\n")
	for question, answer := range map[string]string{
		"what is it?":                       "is a metrics adapter for the HorizontalPodAutoscaler",
		"how much faster is it?":            "| until the metrics API shows 90 % of the step, on 4 pods | ",
		"how do I leave my adapter?":        "](docs/migration.md)",
		"how do I go back?":                 "](docs/migration.md#go-back)",
		"how do I try it?":                  "[`make demo`](#",
		"how do I install it?":              "[`helm install`](#install)",
		"what if it does not work?":         "[`kubectl tachometer doctor -A`](#when-it-does-not-work)",
		"when should I use something else?": "](docs/comparison.md)",
	} {
		if !strings.Contains(screen, answer) {
			t.Errorf("%s The first %d lines of README.md lack %q", question, lines, answer)
		}
	}
}

// pageOpening is the begin of a page: its title, and a sentence about its purpose.
var pageOpening = regexp.MustCompile(`^# .+\n\n(?:<!--.+-->\n\n)?[A-Z]`)

// TestPagesOpenWithCommand: each page says what it is for, and then a command, before anything else.
func TestPagesOpenWithCommand(t *testing.T) {
	t.Parallel()
	pages := 0
	for _, file := range listFiles(t) {
		if !strings.HasPrefix(file, "docs/") || !strings.HasSuffix(file, ".md") {
			continue
		}
		pages++
		opening, _, _ := strings.Cut(readDocument(t, file), "\n## ")
		if !pageOpening.MatchString(opening) || !strings.Contains(opening, "\n```sh\n") {
			t.Errorf("%s does not open with its purpose and a command:\n%s", file, opening)
		}
	}
	if pages < 20 {
		t.Errorf("%d pages: the test looks in the wrong place", pages)
	}
}

// TestScalerGuide: docs/scaler.md is read by a person on call. It opens with five commands, and stays a guide; the reference is another page.
func TestScalerGuide(t *testing.T) {
	t.Parallel()
	const maxWords = 1500
	guide := readDocument(t, "docs/scaler.md")
	if n := len(strings.Fields(guide)); n > maxWords {
		t.Errorf("docs/scaler.md has %d words, above %d: move what is looked up to docs/scaler-reference.md", n, maxWords)
	}
	before, rest, _ := strings.Cut(guide, "```sh\n")
	commands, _, _ := strings.Cut(rest, "```")
	if strings.Contains(before, "\n## ") || strings.Count(commands, "\n") != 5 {
		t.Errorf("docs/scaler.md does not open with five commands:\n%s", commands)
	}
}

// conflictMarker is a line that git leaves in a file where two branches changed the same lines.
var conflictMarker = regexp.MustCompile(`(?m)^(<{7}|>{7}) `)

// TestMergesAreResolved: no file has a marker of a conflict.
func TestMergesAreResolved(t *testing.T) {
	t.Parallel()
	for _, file := range listFiles(t) {
		if at := conflictMarker.FindStringIndex(readDocument(t, file)); at != nil {
			t.Errorf("%s has a marker of a conflict", file)
		}
	}
}

// changelogSection is a section of a release.
var changelogSection = regexp.MustCompile(`^### (CHANGE|FEATURE|ENHANCEMENT|PERF|BUGFIX|SECURITY)\n$`)

// TestChangelog: each entry stands once, on one line, in a section of its release that has one of six names.
func TestChangelog(t *testing.T) {
	t.Parallel()
	section, found := false, map[string]bool{}
	for line := range strings.Lines(readDocument(t, "CHANGELOG.md")) {
		switch {
		case strings.HasPrefix(line, "#"):
			section = changelogSection.MatchString(line)
		case strings.HasPrefix(line, "* "):
			if !section {
				t.Errorf("an entry outside of the sections CHANGE, FEATURE, ENHANCEMENT, PERF, BUGFIX and SECURITY: %s", line)
			}
			if found[line] {
				t.Errorf("an entry stands twice: %s", line)
			}
			found[line] = true
		case strings.HasPrefix(line, " "):
			t.Errorf("an entry of several lines: %s", line)
		}
	}
	if len(found) == 0 {
		t.Error("no entry found: the pattern does not recognise them")
	}
}

var (
	documentFence = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	documentTable = regexp.MustCompile(`(?m)^ *\|.*$`)
	documentWord  = regexp.MustCompile(`\S*[\p{L}\p{N}]\S*`)
)

// TestDocumentedWords: people read the pages in a hurry. Commands, outputs and tables are looked up, and do not count.
func TestDocumentedWords(t *testing.T) {
	t.Parallel()
	const maxWords = 9000
	words, pages := 0, 0
	for _, file := range listFiles(t) {
		if strings.HasPrefix(file, "docs/") && strings.HasSuffix(file, ".md") {
			prose := documentTable.ReplaceAllString(documentFence.ReplaceAllString(readDocument(t, file), ""), "")
			words += len(documentWord.FindAllString(prose, -1))
			pages++
		}
	}
	t.Logf("%d words on %d pages", words, pages)
	if words > maxWords || words < maxWords/2 {
		t.Errorf("docs/ has %d words of prose on %d pages, above %d or hardly any: say it shorter, or once", words, pages, maxWords)
	}
}
