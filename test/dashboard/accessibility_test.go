package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
)

// lowContrast lists the texts whose contrast with the ground below them is less than 4.5, as WCAG 2.2 computes it.
const lowContrast = `(() => {
  const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; } return [255, 255, 255]; };
  const low = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !e.checkVisibility({ opacityProperty: true }) || e.closest("noscript")) continue;
    const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(ground(e))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) low.push(texts.currentNode.data.trim() + ": " + contrast.toFixed(2));
  }
  return low;
})()`

// mustHaveName are the roles of things that a person uses or goes to.
var mustHaveName = []string{"link", "button", "searchbox", "textbox", "img", "image", "region", "navigation", "table", "columnheader", "rowheader", "heading"}

// TestAccessibility: on every page, in both themes, on a desktop and a phone of 320 px, the accessibility tree is complete, text has
// contrast, and nothing lies beside the screen.
func TestAccessibility(t *testing.T) {
	b := openTab(t, wide)
	checkPages(t, b, servePage(t), "#/", "#/metrics", "#/faults", "#/holds", "#/hpa/shop/web", "#/hpa/shop/checkout")
	checkPages(t, b, serveNamespacePage(t, "shop"), "#/metrics")
	b.checkConsole(t)
}

func checkPages(t *testing.T, b *tab, served *servedPage, pages ...string) {
	t.Helper()
	for _, page := range pages {
		for _, theme := range []string{"light", "dark"} {
			b.run(t, chromedp.Navigate("about:blank"))
			b.open(t, served.url(page+"?theme="+theme), "main h2")
			for _, width := range []int64{wide, phone} {
				name := fmt.Sprintf("%s, %s, %d px", page, theme, width)
				b.resize(t, width, 900)
				checkTree(t, b, name)
				if low := evaluate[[]string](t, b, lowContrast); len(low) > 0 {
					t.Errorf("%s: low contrast of %s", name, strings.Join(low, "; "))
				}
				if overflow := evaluate[[]string](t, b, `[document.documentElement, ...document.querySelectorAll(".panel")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.ariaLabel ?? e.tagName)`); len(overflow) > 0 {
					t.Errorf("%s: wider than the screen: %v", name, overflow)
				}
			}
		}
	}
}

// checkTree checks the accessibility tree of the page that the tab shows.
func checkTree(t *testing.T, b *tab, page string) {
	t.Helper()
	tree := command(t, b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	count := map[string]int{}
	for _, node := range tree.Nodes {
		if node.Ignored || node.Role == nil {
			continue
		}
		role, name := textOf(t, node.Role), textOf(t, node.Name)
		count[role]++
		if slices.Contains(mustHaveName, role) && strings.TrimSpace(name) == "" {
			t.Errorf("%s: a %s has no name", page, role)
		}
	}
	for _, role := range []string{"banner", "navigation", "main"} {
		if count[role] != 1 {
			t.Errorf("%s: %d of role %s, want 1", page, count[role], role)
		}
	}
	if count["heading"] < 2 || count["region"] == 0 {
		t.Errorf("%s: %d headings and %d regions", page, count["heading"], count["region"])
	}
	if count["table"] == 0 || count["rowheader"] == 0 || count["columnheader"] == 0 || count["row"] <= count["table"] {
		t.Errorf("%s: tables are not tables to assistive technology: %v", page, count)
	}
}

func textOf(t *testing.T, value *accessibility.Value) string {
	t.Helper()
	var text string
	if value != nil && len(value.Value) > 0 {
		if err := json.Unmarshal(value.Value, &text); err != nil {
			t.Fatal(err)
		}
	}
	return text
}
