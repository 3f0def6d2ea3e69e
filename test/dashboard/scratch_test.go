package main
import ("testing";"os";"github.com/chromedp/chromedp";"fmt")
func TestScratch(t *testing.T) {
	served := servePage(t)
	b := openTab(t, 320)
	axe, err := os.ReadFile("/tmp/dash/axe/package/axe.min.js")
	for i, state := range []string{"#/faults?theme=dark","#/holds","#/hpa/shop/checkout?open=x","#/", "#/hpa/shop/web?theme=dark"} {
		for _, width := range []int64{320, 1280} {
		b.resize(t, width, 900)
		b.run(t, chromedp.Navigate("about:blank"))
		b.open(t, served.url(state), "main h2")
		b.await(t, "!document.body.innerText.includes('Reading')")
		height := evaluate[int64](t, b, "document.documentElement.scrollHeight")
		t.Log(state, width, "scrollWidth", evaluate[int64](t, b, "document.documentElement.scrollWidth"))
		b.resize(t, width, min(height, 2400))
		picture, _ := chromedp.Run(b, chromedp.CaptureScreenshot())
		os.WriteFile(fmt.Sprintf("/tmp/dash/shots/s%d-%d.png", i, width), picture, 0o644)
		if err == nil {
			b.run(t, chromedp.Evaluate[chromedp.Void](string(axe)+";0"))
			t.Log(evaluate[string](t, b, `axe.run().then(r => r.violations.map(v => v.id+": "+v.help+"\n   "+v.nodes.slice(0,4).map(n=>n.html.slice(0,200)+" "+n.failureSummary).join("\n   ")).join("\n"))`))
		}
		}
	}
	b.checkConsole(t)
}
