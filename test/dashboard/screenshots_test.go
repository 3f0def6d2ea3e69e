package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

var updateScreenshots = flag.String("screenshots", "", "write the pictures of docs/dashboard.md into this `folder`")

// maxPictureHeight cuts long pages.
const maxPictureHeight = 1300

// screenshot is a picture of the documentation.
type screenshot struct {
	name, state, shows string
	width              int64
}

// listScreenshots returns two pages in two themes and two widths.
func listScreenshots() []screenshot {
	var all []screenshot
	for _, theme := range []string{"light", "dark"} {
		for name, width := range map[string]int64{"wide": 1280, "phone": 360} {
			all = append(all,
				screenshot{"dashboard-table-" + theme + "-" + name + ".png", "#/?theme=" + theme, "table", width},
				screenshot{"dashboard-hpa-" + theme + "-" + name + ".png", "#/hpa/shop/web?theme=" + theme, ".uplot", width})
		}
	}
	return all
}

// TestScreenshots: docs/dashboard.md shows every picture. With -screenshots it takes them.
func TestScreenshots(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "dashboard.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range listScreenshots() {
		if !strings.Contains(string(document), s.name) {
			t.Errorf("docs/dashboard.md does not show %s", s.name)
		}
	}
	if *updateScreenshots == "" {
		return
	}
	served, b := servePage(t), openTab(t, wide)
	for _, s := range listScreenshots() {
		b.resize(t, s.width, 900)
		b.run(t, chromedp.Navigate("about:blank"))
		b.open(t, served.url(s.state), s.shows)
		b.resize(t, s.width, min(evaluate[int64](t, b, "document.documentElement.scrollHeight"), maxPictureHeight))
		picture, err := chromedp.Run(b, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		b.checkConsole(t)
		if err := os.WriteFile(filepath.Join(*updateScreenshots, s.name), picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	writePictureSources(t, served, *updateScreenshots)
}
