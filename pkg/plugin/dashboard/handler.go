package dashboard

// This file answers requests: first the checks that keep others out, then the page's files and its data.

import (
	"crypto/subtle"
	"embed"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// webFiles are the files of the page. uPlot is version 1.6.32, as npm has it.
//
//go:embed web
var webFiles embed.FS

// webTypes are the types of the page's files. The machine's own table of types may lack one.
var webTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
}

// contentPolicy permits the page's own files and nothing else: no inline script, no style attribute, no frame, no other host.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// timeHeader is the header of a state's answer with the time by the cluster's clock. The browser's clock may differ.
const timeHeader = "Tachometer-Time"

// Handler returns the handler of all requests.
func (s *PageServer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/state", s.servePageState)
	mux.HandleFunc("/api/autoscalers/{namespace}/{name}", s.serveAutoscalerDetail)
	mux.HandleFunc("/", servePageFile)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setPageHeaders(w.Header())
		switch token, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); {
		case !isMachineAddress(r):
			http.Error(w, "Host "+strconv.Quote(r.Host)+" is no address of this machine: open the address that the command printed", http.StatusMisdirectedRequest)
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "only GET: the dashboard changes nothing", http.StatusMethodNotAllowed)
		case equalPageTokens(token, s.once) && rest == "" && s.used.CompareAndSwap(false, true):
			http.Redirect(w, r, s.Path(), http.StatusSeeOther)
		case !equalPageTokens(token, s.token), strings.Contains(rest, ".."):
			http.Error(w, "not found: open the address that the command printed", http.StatusNotFound)
		case r.URL.Path == "/"+token: // as a person may type it
			http.Redirect(w, r, s.Path(), http.StatusSeeOther)
		default:
			http.StripPrefix("/"+token, mux).ServeHTTP(w, r)
		}
	})
}

func equalPageTokens(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// setPageHeaders keeps the page out of frames, caches and referrers, and scripts of others out of the page. No header permits
// another origin to read an answer.
func setPageHeaders(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// isMachineAddress reports whether a request names an address of the machine, and no DNS name: a name may be rebound to 127.0.0.1 by
// its owner, who would then read the page. A connection over loopback needs a loopback address or localhost.
func isMachineAddress(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return address.IsLoopback()
	}
	bound, err := netip.ParseAddrPort(local.String())
	return err == nil && bound.Addr().IsLoopback() == address.IsLoopback()
}

func servePageFile(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if name == "" || name == "." {
		name = "index.html"
	}
	contentType, known := webTypes[path.Ext(name)]
	data, err := webFiles.ReadFile("web/" + name)
	if err != nil || !known {
		http.Error(w, "the page has no such file", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(data) // a browser that went away needs no answer
}

// servePageState answers with the last look, or with 204 if the page has it already.
func (s *PageServer) servePageState(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(timeHeader, s.now().UTC().Format(time.RFC3339Nano))
	last := s.last.Load()
	if r.URL.Query().Get("after") == strconv.FormatInt(last.Sequence, 10) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writePageJSON(w, last)
}

func (s *PageServer) serveAutoscalerDetail(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	view := s.records.viewAutoscalerRecord(namespace, name)
	if view == nil {
		http.Error(w, "there is no hpa/"+plaintext.Clean(name)+" in namespace "+plaintext.Clean(namespace), http.StatusNotFound)
		return
	}
	decisions, since, err := s.records.ListDecisions(r.Context(), namespace, name)
	if s.opts.Decisions != nil {
		recorded, begin, failure := s.opts.Decisions.ListDecisions(r.Context(), namespace, name)
		if err = failure; recorded != nil {
			decisions, since, view.Recorded = recorded, begin, true
		}
	}
	if err != nil {
		view.DecisionsError = err.Error()
	}
	view.Decisions, view.KnownSince = append([]Decision{}, decisions...), since
	writePageJSON(w, view)
}

// writePageJSON writes a view. Texts of others are cleaned: a name or an error may hold characters that reorder a line.
func writePageJSON(w http.ResponseWriter, view any) {
	data, err := json.Marshal(view)
	var fields any
	if err == nil {
		err = json.Unmarshal(data, &fields)
	}
	if err == nil {
		data, err = json.Marshal(plaintext.CleanValue(fields))
	}
	if err != nil {
		http.Error(w, "encode the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // a browser that went away needs no answer
}
