package dashboard

import (
	"context"
	"io/fs"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestGuards: a request needs an address of this machine, GET and the path's token.
func TestGuards(t *testing.T) {
	t.Parallel()
	s := newCluster("50").serve(Options{})
	for name, tc := range map[string]struct {
		method, host, path string
		code               int
	}{
		"the page":                  {"GET", "127.0.0.1:8088", s.Path(), http.StatusOK},
		"over IPv6":                 {"GET", "[::1]:8088", s.Path(), http.StatusOK},
		"by the machine's name":     {"GET", "localhost:8088", s.Path(), http.StatusOK},
		"without the last slash":    {"GET", "127.0.0.1", strings.TrimSuffix(s.Path(), "/"), http.StatusSeeOther},
		"the data":                  {"GET", "127.0.0.1", s.Path() + "api/state", http.StatusOK},
		"a rebound name":            {"GET", "attacker.example:8088", s.Path(), http.StatusMisdirectedRequest},
		"a name with an address":    {"GET", "127.0.0.1.attacker.example", s.Path(), http.StatusMisdirectedRequest},
		"localhost of a domain":     {"GET", "localhost.attacker.example", s.Path(), http.StatusMisdirectedRequest},
		"another machine's address": {"GET", "10.0.0.7:8088", s.Path(), http.StatusMisdirectedRequest},
		"no host":                   {"GET", "", s.Path(), http.StatusMisdirectedRequest},
		"a write":                   {"POST", "127.0.0.1", s.Path() + "api/state", http.StatusMethodNotAllowed},
		"a preflight":               {"OPTIONS", "127.0.0.1", s.Path() + "api/state", http.StatusMethodNotAllowed},
		"a head":                    {"HEAD", "127.0.0.1", s.Path(), http.StatusMethodNotAllowed},
		"no token":                  {"GET", "127.0.0.1", "/", http.StatusNotFound},
		"another token":             {"GET", "127.0.0.1", "/" + strings.Repeat("A", 26) + "/", http.StatusNotFound},
		"data without a token":      {"GET", "127.0.0.1", "/api/state", http.StatusNotFound},
		"out of the folder":         {"GET", "127.0.0.1", s.Path() + "../handler.go", http.StatusNotFound},
		"an unknown file":           {"GET", "127.0.0.1", s.Path() + "other.js", http.StatusNotFound},
		"a file that is no page":    {"GET", "127.0.0.1", s.Path() + "uplot/LICENSE", http.StatusNotFound},
		"an unknown autoscaler":     {"GET", "127.0.0.1", s.Path() + "api/autoscalers/shop/web", http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, nil)
			r.Host = tc.host
			r.Header.Set("Origin", "https://attacker.example")
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != tc.code {
				t.Errorf("status %d, want %d: %s", w.Code, tc.code, w.Body)
			}
			for header, want := range map[string]string{
				"Content-Security-Policy": contentPolicy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
				"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Access-Control-Allow-Origin": "",
			} {
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
		})
	}
}

// TestListenerBeyondLoopback: a page on another address is reached by that address, and by no name.
func TestListenerBeyondLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{"10.0.0.7:80": true, "dashboard.example": false, "127.0.0.1": false} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Host = host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 80})))
		if got := isMachineAddress(r); got != want {
			t.Errorf("Host %s on 10.0.0.7: %t, want %t", host, got, want)
		}
	}
}

// TestLaunchPath: the path that a browser's command line shows leads to the page once.
func TestLaunchPath(t *testing.T) {
	t.Parallel()
	s := newCluster("50").serve(Options{})
	for i, want := range []int{http.StatusSeeOther, http.StatusNotFound} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, s.LaunchPath(), nil)
		r.Host = "127.0.0.1"
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != want || want == http.StatusSeeOther && w.Header().Get("Location") != s.Path() {
			t.Errorf("request %d: status %d to %q, want %d", i+1, w.Code, w.Header().Get("Location"), want)
		}
	}
	if other := newCluster("50").serve(Options{}); other.Path() == s.Path() || len(s.Path()) < 26 || strings.Contains(s.LaunchPath(), s.token) {
		t.Error("paths can be guessed")
	}
}

// TestFiles: every file of the page is served with its type. None has inline script or style, and none is loaded from elsewhere.
func TestFiles(t *testing.T) {
	t.Parallel()
	s := newCluster("50").serve(Options{})
	inline := regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>[^<]|\son[a-z]+=|\sstyle=|<style`)
	elsewhere := regexp.MustCompile(`(?i)(?:src|href)="(?:https?:)?//|url\(|@import|from "(?:https?:)?//`)
	dangerous := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function`)
	files := 0
	err := fs.WalkDir(webFiles, "web", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Base(name) == "LICENSE" {
			return err
		}
		files++
		w := get(t, s, strings.TrimPrefix(name, "web/"))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != webTypes[path.Ext(name)] {
			t.Errorf("%s: status %d, type %q", name, w.Code, w.Header().Get("Content-Type"))
		}
		text := w.Body.String()
		if strings.HasSuffix(name, ".html") && inline.MatchString(text) {
			t.Errorf("%s has inline script or style: %q", name, inline.FindString(text))
		}
		if elsewhere.MatchString(text) {
			t.Errorf("%s loads from elsewhere: %q", name, elsewhere.FindString(text))
		}
		if dangerous.MatchString(text) {
			t.Errorf("%s makes markup of text: %q", name, dangerous.FindString(text))
		}
		return nil
	})
	if err != nil || files < 8 {
		t.Errorf("%d files: %v", files, err)
	}
	if data, err := webFiles.ReadFile("web/uplot/uPlot.iife.min.js"); err != nil || !strings.Contains(string(data[:200]), "(v1.6.32)") {
		t.Errorf("uPlot is not the version that handler.go names: %v", err)
	}
}

// TestContrast: text of each colour on each ground has a contrast of 4.5 (WCAG 2.2, AA), in both themes.
func TestContrast(t *testing.T) {
	t.Parallel()
	css, err := webFiles.ReadFile("web/style.css")
	if err != nil {
		t.Fatal(err)
	}
	themes := regexp.MustCompile(`(?s):root[^{]*\{(.*?)\}`).FindAllSubmatch(css, -1)
	if len(themes) != 2 {
		t.Fatalf("%d themes found, want 2", len(themes))
	}
	for i, theme := range themes {
		colours := map[string]float64{}
		for _, c := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(string(theme[1]), -1) {
			colours[c[1]] = luminance(t, c[2])
		}
		for _, pair := range [][2]string{
			{"ink", "paper"}, {"ink", "panel"}, {"ink", "raised"}, {"muted", "paper"}, {"muted", "panel"}, {"muted", "raised"},
			{"accent", "paper"}, {"accent", "panel"}, {"accent", "raised"}, {"accent", "accent-soft"}, {"alarm", "paper"}, {"alarm", "panel"}, {"alarm", "raised"}, {"alarm", "alarm-soft"},
		} {
			text, ground := colours[pair[0]], colours[pair[1]]
			if contrast := (max(text, ground) + 0.05) / (min(text, ground) + 0.05); contrast < 4.5 {
				t.Errorf("theme %d: %s on %s has a contrast of %.2f", i+1, pair[0], pair[1], contrast)
			}
		}
	}
}

// luminance returns the relative luminance of a colour, as WCAG 2.2 defines it.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	channel := func(shift int) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

// TestTexts: texts of others keep no control character, and no markup.
func TestTexts(t *testing.T) {
	t.Parallel()
	c := newCluster("50", "50")
	c.failure = "bad \u202epage\x1b[2J <script>alert(1)</script>\nnext"
	s := c.serve(Options{})
	c.look(t, s)
	for _, place := range []string{"api/state", "api/autoscalers/shop/web"} {
		body := strings.ReplaceAll(get(t, s, place).Body.String(), `\\`, "") // of a quotation, which JSON escapes
		for _, never := range []string{"\u202e", `\u202e`, `\u001b`, "<script>", "\x1b"} {
			if strings.Contains(body, never) {
				t.Errorf("%s has %q", place, never)
			}
		}
		if !strings.Contains(body, `bad u202epagex1b[2J \u003cscript\u003e`) {
			t.Errorf("%s does not have the cause: %s", place, body)
		}
	}
}
