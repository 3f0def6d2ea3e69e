// Package main's tests hold the dashboard to its promises in a real browser.
package main

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/dashboard"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/test/dashboard/world"
)

const (
	wide  = 1280
	phone = 320
)

// TestPage: clicks lead through the page, each state has a URL, and the console stays empty.
func TestPage(t *testing.T) {
	served := servePage(t)
	b := openTab(t, wide)
	b.open(t, served.url(""), "table.autoscalers")
	if rows := evaluate[int](t, b, "document.querySelectorAll('table.autoscalers tbody tr').length"); rows != 7 {
		t.Errorf("%d rows, want 7", rows)
	}
	if first := evaluate[string](t, b, "document.querySelector('tbody .state').innerText"); first != "broken" {
		t.Errorf("the first state is %q, want broken", first)
	}
	b.click(t, "a[href^='#/hpa/shop/web']")
	b.await(t, "document.activeElement.tagName === 'H2' && document.querySelectorAll('.uplot').length === 3")
	b.await(t, "document.title === 'shop/web, held · Tachometer'")
	b.click(t, "[data-set='range=5m']")
	b.await(t, "location.hash.includes('range=5m') && document.querySelector('[data-set=\"range=5m\"]').ariaPressed === 'true'")
	b.click(t, ".decisions .expand")
	b.await(t, "location.hash.includes('open=') && document.querySelector('.decisions .steps').innerText.includes('divided by the target 50')")
	state := evaluate[string](t, b, "location.hash")
	shown := evaluate[string](t, b, "document.querySelector('main').innerText")
	b.run(t, chromedp.Navigate("about:blank"))
	b.open(t, served.url(state), ".decisions .steps")
	if again := evaluate[string](t, b, "document.querySelector('main').innerText"); again != shown {
		t.Errorf("%s shows\n%s\nand showed\n%s", state, again, shown)
	}
	b.click(t, ".sentence .copy")
	b.await(t, "document.getElementById('toast').innerText.includes('kubectl tachometer explain hpa/web -n shop')")
	b.click(t, "nav a[href^='#/metrics']")
	b.await(t, "document.querySelectorAll('main tbody tr').length === 8 && document.querySelector('main').innerText.includes('queries_in_flight')")
	b.click(t, "main a[href^='#/hpa/shop/search']")
	b.await(t, "document.title.startsWith('shop/search')")
	b.click(t, "nav a[href^='#/faults']")
	b.await(t, "document.querySelector('main').innerText.includes('5 scrape failed (connection refused)')")
	b.await(t, "document.querySelector('[aria-label^=Metrics] tbody').innerText.includes('scrape failed (connection refused), counts as ')")
	b.await(t, "document.querySelectorAll('[aria-label=\"Targets that fail\"] tbody tr').length === 6")
	b.click(t, "[aria-label='Targets that fail'] header .copy")
	b.await(t, "document.getElementById('toast').innerText.includes('kubectl get targets.explain.tachometer.dev -A')")
	b.click(t, "nav a[href^='#/holds']")
	b.await(t, "document.querySelector('main').innerText.includes('schedule friday-sale')")
	const windows = "Array.from(document.querySelectorAll('[aria-label^=Calendar] tbody tr'), (row) => Array.from(row.cells).slice(1).map((cell) => cell.innerText).join('|')).join(' ')"
	if got, want := evaluate[string](t, b, windows), "friday-sale|sale|now|5|30|27/11/2026, 10:00:00|27/11/2026, 14:00:00 "+
		"nights|night|paused|2|–|27/11/2026, 22:00:00|28/11/2026, 06:00:00 "+
		"office-hours|mon,tue,wed,thu,fri 08:00-22:00|next|8|–|28/11/2026, 08:00:00|28/11/2026, 22:00:00"; got != want {
		t.Errorf("the calendar shows\n%s\nwant\n%s", got, want)
	}
	b.click(t, "[aria-label^=Calendar] header .copy")
	b.await(t, "document.getElementById('toast').innerText.includes('kubectl get configmap tachometer-scaler-config')")
	b.run(t, chromedp.Evaluate[chromedp.Void]("history.back()"))
	b.await(t, "location.hash.startsWith('#/faults') && document.querySelector('h2').innerText === 'Faults'")
	b.checkConsole(t)
}

// TestRecord: a program that was started just now shows the decisions of before, with their arithmetic; with an older adapter it says that
// it knows only its own.
func TestRecord(t *testing.T) {
	served := &servedPage{world: world.New(worldEnd.Add(-20 * time.Minute))}
	served.world.Advance(20 * time.Minute)
	served.server = dashboard.New(dashboard.Options{
		Client: served.world.Client(), Metrics: reading.MetricReader{Reader: served.world}, Now: served.world.Now,
		Decisions: dashboard.NewRecordedDecisions(served.world, served.world.Now),
	})
	served.server.Look(t.Context())
	served.http = httptest.NewServer(served.server.Handler())
	t.Cleanup(served.http.Close)
	b := openTab(t, wide)
	b.open(t, served.url("#/hpa/shop/web"), ".decisions")
	if n := evaluate[int](t, b, "document.querySelectorAll('.decisions > li').length"); n != 2 {
		t.Errorf("%d decisions, want 2: those of a program that ran all the time", n)
	}
	b.await(t, "document.querySelector('[aria-label=Decisions]').innerText.includes('Recorded by the adapter since 11:45:03')")
	b.click(t, ".decisions .expand")
	b.await(t, "document.querySelector('.decisions .steps').innerText.includes('divided by the target 50')")
	b.click(t, "[aria-label=Decisions] header .copy")
	b.await(t, "document.getElementById('toast').innerText.includes('kubectl tachometer explain hpa/web --since 1h -n shop')")

	served.world.RemoveRecord()
	served.look(t)
	b.await(t, "document.querySelector('[aria-label=Decisions]').innerText.includes('it is older than this plugin')")
	b.checkConsole(t)
}

// TestRefresh: the page follows the cluster and keeps the focus, until it is stopped; and says when its program or the cluster is gone.
func TestRefresh(t *testing.T) {
	served := servePage(t)
	b := openTab(t, wide)
	b.open(t, served.url("#/hpa/shop/web"), ".uplot")
	read := "document.querySelector('#head time').dateTime"
	before := evaluate[string](t, b, read)
	b.run(t, chromedp.Evaluate[chromedp.Void]("document.querySelector('.charts [data-chart=value]').focus()"))
	served.look(t)
	b.await(t, fmt.Sprintf("%s !== %q && document.activeElement.dataset.chart === 'value'", read, before))

	b.click(t, "[data-set='stop=1']")
	b.await(t, "document.querySelector('[data-set=\"stop=\"]').ariaPressed === 'true'")
	before = evaluate[string](t, b, read)
	served.look(t)
	const polls = 4500 // milliseconds: more than two pauses between reads
	if after := evaluate[string](t, b, fmt.Sprintf("new Promise(done => setTimeout(() => done(%s), %d))", read, polls)); after != before {
		t.Errorf("a stopped page moved from %s to %s", before, after)
	}
	b.click(t, "[data-set='stop=']")
	b.await(t, fmt.Sprintf("%s !== %q", read, before))

	served.world.LoseAutoscalers("kube-apiserver: connection refused")
	served.look(t)
	b.await(t, "document.querySelector('[role=alert]')?.innerText.includes('kube-apiserver: connection refused')")
	b.checkConsole(t)
	served.http.Close()
	b.await(t, "document.querySelector('[role=alert]')?.innerText.includes('does not answer') && document.querySelector('.sentence').innerText.includes('10 pods')")
}

// TestKeyboard: all that a mouse can do, keys can.
func TestKeyboard(t *testing.T) {
	served := servePage(t)
	b := openTab(t, wide)
	b.open(t, served.url(""), "table.autoscalers")
	b.press(t, kb.Tab)
	b.await(t, "document.activeElement.className === 'skip'")
	b.press(t, kb.Enter)
	b.await(t, "document.activeElement.id === 'main'")
	b.run(t, chromedp.Evaluate[chromedp.Void]("document.activeElement.blur()"))
	// a browser's own key press: chromedp's would type the character in any case
	b.run(t, chromedp.Evaluate[chromedp.Void]("document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true }))"))
	b.await(t, "document.activeElement.id === 'filter'")
	b.press(t, "web")
	b.await(t, "location.hash.includes('q=web') && document.querySelectorAll('tbody tr').length === 1")
	for steps := 0; evaluate[string](t, b, "document.activeElement.innerText") != "web"; steps++ {
		if steps > 10 {
			t.Fatal("Tab does not reach the autoscaler within ten steps of the filter")
		}
		b.press(t, kb.Tab)
	}
	b.press(t, kb.Enter)
	b.await(t, "document.activeElement.tagName === 'H2' && document.querySelectorAll('.uplot').length === 3")
	b.run(t, chromedp.Evaluate[chromedp.Void]("document.querySelector('[data-chart=load]').focus()"))
	b.press(t, kb.ArrowLeft+kb.ArrowLeft)
	b.await(t, "/^[\\d.]+\\/s at \\d\\d:\\d\\d:\\d\\d$/.test(document.querySelector('[data-value=\"load/load\"]').textContent)")
	b.run(t, chromedp.Evaluate[chromedp.Void]("document.querySelector('.decisions .expand').focus()"))
	b.press(t, kb.Enter)
	b.await(t, "document.activeElement.ariaExpanded === 'true' && document.querySelector('.decisions .steps') !== null")
	b.checkConsole(t)
}

// TestTheme: the page has the theme of the system, until one is chosen.
func TestTheme(t *testing.T) {
	served := servePage(t)
	b := openTab(t, wide)
	for _, scheme := range []string{"light", "dark"} {
		command(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		b.open(t, served.url("#/"), "table.autoscalers")
		b.await(t, fmt.Sprintf("document.documentElement.dataset.theme === %q", scheme))
	}
	dark := evaluate[string](t, b, "getComputedStyle(document.body).backgroundColor")
	b.click(t, "[data-set='theme=light']")
	b.await(t, fmt.Sprintf("location.hash.includes('theme=light') && getComputedStyle(document.body).backgroundColor !== %q", dark))
	b.checkConsole(t)
}

// TestTimeZone: clocks are in the browser's zone, until UTC is chosen; the address keeps the choice.
func TestTimeZone(t *testing.T) {
	served := servePage(t)
	b := openTab(t, wide)
	command(t, b, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Tokyo"})
	b.open(t, served.url("#/hpa/shop/web"), ".decisions time")
	at, err := time.Parse(time.RFC3339, evaluate[string](t, b, "document.querySelector('.decisions time').dateTime"))
	if err != nil {
		t.Fatal(err)
	}
	const shown = "document.querySelector('.decisions time').innerText === %q"
	b.await(t, fmt.Sprintf(shown, at.UTC().Add(9*time.Hour).Format("15:04:05")))
	b.click(t, "[data-set='utc=1']")
	b.await(t, "location.hash.includes('utc=1') && "+fmt.Sprintf(shown, at.UTC().Format("15:04:05")))
	b.await(t, "document.querySelectorAll('.uplot').length === 3 && document.querySelector('[data-set=\"utc=\"]').ariaPressed === 'true'")
	b.click(t, "nav a[href^='#/holds']")
	b.await(t, "location.hash.includes('utc=1')")
	b.checkConsole(t)
}

// TestClock: ages go by the cluster's clock, whatever the browser's says.
func TestClock(t *testing.T) {
	served := servePage(t)
	b := openTab(t, wide)
	const ages = "[...document.querySelectorAll('time[data-age]')].map((e) => e.innerText).join(' ')"
	for _, place := range []string{"", "#/hpa/shop/web"} {
		b.setClock(t, worldEnd)
		b.open(t, served.url(place), "main time[data-age]")
		right := evaluate[string](t, b, ages)
		for _, off := range []time.Duration{time.Hour, -time.Hour} {
			b.setClock(t, worldEnd.Add(off))
			b.open(t, "about:blank", "body") // another fragment alone loads no page
			b.open(t, served.url(place), "main time[data-age]")
			if got := evaluate[string](t, b, ages); got != right {
				t.Errorf("%s with a browser's clock off by %s: ages %q, want %q", place, off, got, right)
			}
		}
	}
	b.checkConsole(t)
}

// TestHostileTexts: markup in an error of another program stays text.
func TestHostileTexts(t *testing.T) {
	served := servePage(t)
	const markup = `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>`
	served.world.SetFailure("shop", "web", markup)
	served.look(t)
	b := openTab(t, wide)
	for _, state := range []string{"#/", "#/metrics", "#/faults", "#/hpa/shop/web"} {
		b.run(t, chromedp.Navigate("about:blank"))
		b.open(t, served.url(state), "main h2")
		b.await(t, fmt.Sprintf("document.querySelector('main').innerText.includes(%q)", markup))
		if n := evaluate[int](t, b, "document.querySelectorAll('main img, main script').length"); n != 0 {
			t.Errorf("%s has %d elements of another's text", state, n)
		}
		if title := evaluate[string](t, b, "document.title"); strings.Contains(title, "taken") {
			t.Errorf("%s ran another's text", state)
		}
	}
	b.checkConsole(t)
}

// TestFamilies: the families of a namespace can be filtered by keys, are in the address, have a command, and their texts stay texts.
func TestFamilies(t *testing.T) {
	served := serveNamespacePage(t, "shop")
	b := openTab(t, wide)
	b.open(t, served.url("#/"), "table.autoscalers")
	b.click(t, "nav a[href^='#/metrics']")
	const rows = "document.querySelectorAll('.families tbody tr').length"
	b.await(t, rows+" === 304 && document.querySelector('main').innerText.includes('for Pod/import: connection refused')")
	b.await(t, fmt.Sprintf("document.querySelector('.families').innerText.includes(%q)", world.HostileText))
	if n := evaluate[int](t, b, "document.querySelectorAll('main img, main script').length"); n != 0 || strings.Contains(evaluate[string](t, b, "document.title"), "taken") {
		t.Errorf("%d elements of another's text, or one ran", n)
	}
	b.await(t, "document.activeElement.tagName === 'H2'")
	b.run(t, chromedp.Evaluate[chromedp.Void]("document.activeElement.blur(), document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true }))"))
	b.await(t, "document.activeElement.id === 'filter'")
	b.press(t, "QUERIES")
	b.await(t, "location.hash.includes('q=QUERIES') && "+rows+" === 1 && document.querySelectorAll('.by-metric tbody tr').length === 1")
	b.press(t, "?")
	b.await(t, "document.querySelector('main').innerText.includes('No family matches “queries?”') && document.activeElement.id === 'filter'")
	b.run(t, chromedp.Navigate("about:blank"))
	b.open(t, served.url("#/metrics?q=code+and"), ".families")
	b.await(t, rows+" === 1 && document.getElementById('filter').value === 'code and' && document.querySelector('.families').innerText.includes('autoscaler')")
	b.click(t, "[aria-label='Families that the pods expose'] header .copy")
	b.await(t, "document.getElementById('toast').innerText.includes('kubectl tachometer metrics -n shop')")
	b.checkConsole(t)
}

// click clicks the first element of a selector.
func (b *tab) click(t *testing.T, selector string) {
	t.Helper()
	b.run(t, chromedp.Click(chromedp.CSS(selector)))
}

// press presses keys.
func (b *tab) press(t *testing.T, keys string) {
	t.Helper()
	b.run(t, chromedp.KeyEvent(keys))
}
