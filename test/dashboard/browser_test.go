package main

// This file starts the page, and a real browser on it.

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/dashboard"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/test/dashboard/world"
)

// patience bounds every wait: a browser on a busy machine is slow.
const patience = 10 * time.Minute

// worldEnd is the time at which the world stands still; it began twenty minutes earlier.
var worldEnd = time.Date(2026, 11, 27, 12, 5, 3, 0, time.UTC)

// servedPage is the dashboard of a world.
type servedPage struct {
	world  *world.World
	server *dashboard.PageServer
	http   *httptest.Server
}

// servePage serves a world that was looked at every five seconds for twenty minutes.
func servePage(t *testing.T) *servedPage { return serveNamespacePage(t, "") }

// serveNamespacePage is servePage of a namespace; empty: of all.
func serveNamespacePage(t *testing.T, namespace string) *servedPage {
	t.Helper()
	const past, pause = 20 * time.Minute, 5 * time.Second
	p := &servedPage{world: world.New(worldEnd.Add(-past))}
	p.server = dashboard.New(dashboard.Options{
		Client: p.world.Client(), Metrics: reading.MetricReader{Reader: p.world}, Now: p.world.Now, Context: "production", Namespace: namespace,
		Decisions: dashboard.NewRecordedDecisions(p.world, p.world.Now), Calendars: p.world,
	})
	for range past / pause {
		p.world.Advance(pause)
		p.server.Look(t.Context())
	}
	p.http = httptest.NewServer(p.server.Handler())
	t.Cleanup(p.http.Close)
	return p
}

// look moves the world on, and reads it.
func (p *servedPage) look(t *testing.T) {
	p.world.Advance(5 * time.Second)
	p.server.Look(t.Context())
}

func (p *servedPage) url(state string) string { return p.http.URL + p.server.Path() + state }

// tab is a page of the browser, with the errors of its console.
type tab struct {
	context.Context
	mu     sync.Mutex // guards errors
	errors []string
}

// openTab starts a browser with a window of a width, whose clock stands at the world's end.
func openTab(t *testing.T, width int64) *tab {
	t.Helper()
	if !slices.ContainsFunc([]string{"chromium", "chromium-browser", "google-chrome"}, func(name string) bool { _, err := exec.LookPath(name); return err == nil }) {
		if os.Getenv("CI") != "" {
			t.Fatal("no chromium in the PATH: run make deps")
		}
		t.Skip("SKIPPED: no chromium in the PATH; make deps installs it (Debian: apt-get install chromium)")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.WSURLReadTimeout(patience))
	ctx, stopBrowser := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stopBrowser)
	ctx, stopTab := chromedp.NewContext(ctx)
	t.Cleanup(stopTab)
	b := &tab{}
	if err := chromedp.Listen(ctx, b.noteConsole); err != nil { // starts the browser
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	b.Context = ctx
	command(t, b, runtime.Enable, cdp.Empty{})
	command(t, b, log.Enable, cdp.Empty{})
	b.resize(t, width, 900)
	command(t, b, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"})
	command(t, b, emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: "en-GB"})
	b.setClock(t, worldEnd)
	return b
}

// setClock sets the clock of the pages that are opened from then on.
func (b *tab) setClock(t *testing.T, at time.Time) {
	t.Helper()
	command(t, b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: fmt.Sprintf("Date.now = () => %d;", at.UnixMilli()),
	})
}

// command sends a command of the DevTools protocol to a tab.
func command[P, R any](t *testing.T, b *tab, c cdp.Command[P, R], params P) R {
	t.Helper()
	result, err := chromedp.Call(b, c, params)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (b *tab) resize(t *testing.T, width, height int64) {
	t.Helper()
	command(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600,
	})
}

// noteConsole keeps what scripts, the network and the content policy write to the console.
func (b *tab) noteConsole(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		b.errors = append(b.errors, text)
	case *runtime.EventConsoleAPICalled:
		b.errors = append(b.errors, fmt.Sprintf("console.%s", e.Type))
	case *log.EventEntryAdded:
		b.errors = append(b.errors, e.Entry.Text)
	}
}

// checkConsole fails the test for whatever the console shows.
func (b *tab) checkConsole(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.errors) > 0 {
		t.Errorf("the console shows:\n%s", strings.Join(b.errors, "\n"))
	}
}

func (b *tab) run(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b, steps...); err != nil {
		t.Fatal(err)
	}
}

// open opens a state of the page, and waits for what it shows.
func (b *tab) open(t *testing.T, url, shows string) {
	t.Helper()
	b.run(t, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS(shows)))
}

// evaluate returns the value of an expression of the page.
func evaluate[T any](t *testing.T, b *tab, expression string) T {
	t.Helper()
	result, err := chromedp.Run(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return result
}

// await waits until an expression of the page is true.
func (b *tab) await(t *testing.T, expression string) {
	t.Helper()
	const pause = 50 // milliseconds
	tries := int(patience.Milliseconds()) / pause / 2
	if !evaluate[bool](t, b, fmt.Sprintf("new Promise(done => { let tries = %d; const look = () => (%s) ? done(true) : tries-- ? setTimeout(look, %d) : done(false); look(); })", tries, expression, pause)) {
		t.Fatalf("%s does not become true; the page shows:\n%s", expression, evaluate[string](t, b, "document.body.innerText"))
	}
}
