package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
)

// parseFlags are the options of a command line.
func parseFlags(t *testing.T, args ...string) *commandLineOptions {
	t.Helper()
	opts := newDefaultOptions()
	groups, all := opts.newFlagSets(), pflag.NewFlagSet("adapter", pflag.ContinueOnError)
	for _, name := range groups.Order {
		all.AddFlagSet(groups.FlagSets[name])
	}
	if err := all.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := opts.validateAllFlags(); err != nil {
		t.Fatal(err)
	}
	return opts
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// legacyRules are in prometheus-adapter's format, with its best known rule.
const legacyRules = `
rules:
- seriesQuery: 'http_requests_total{namespace!="",pod!=""}'
  resources:
    overrides:
      namespace: {resource: namespace}
      pod: {resource: pod}
  name:
    matches: ^(.*)_total$
    as: ${1}_per_second
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
`

// scriptedServer is a Prometheus that knows one pod and counts the queries for it.
func scriptedServer(t *testing.T, queries *atomic.Int64) string {
	t.Helper()
	const matchers = `http_requests_total{namespace="default",pod="web-1"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		if r.URL.Path != "/prom/api/v1/query" || !strings.Contains(query, matchers) || r.Header.Get("X-Scope-Orgid") != "shop" {
			http.Error(w, "unexpected "+r.URL.Path+" "+query, http.StatusTeapot)
			return
		}
		queries.Add(1)
		w.Header().Set("Content-Type", "application/json")
		now := float64(time.Now().UnixMilli()) / 1000
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"web-1"},"value":[%f,"41.5"]},`+
			`{"metric":{"pod":"web-1","tachometer_sample_time":"1"},"value":[%f,"%f"]}]}}`, now, now, now-7)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/prom/"
}

// TestPrometheusAdaptersCommandLine runs the adapter with the command line, the configuration and the rights of
// prometheus-adapter's Deployment.
func TestPrometheusAdaptersCommandLine(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t)
	c.readsOnly.Store(true)
	var queries atomic.Int64
	opts := parseFlags(t, "/adapter", "--secure-port=6443", "--cert-dir="+t.TempDir(), "--logtostderr=true",
		"--prometheus-url="+scriptedServer(t, &queries), "--prometheus-header=X-Scope-OrgID=shop", "--metrics-relist-interval=1m",
		"--v=4", "--config="+writeFile(t, legacyRules), "--disable-http2", "--client-qps=50", "--client-burst=100",
		"--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_256_CBC_SHA", "--lister-kubeconfig="+c.kubeconfig)
	r := startWith(t, c, opts)
	trusting := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as that chart's APIService does
	get := func(path string) (string, error) { return r.getWithTLS(t.Context(), trusting, path) }
	waitUntil(t, func() bool { _, err := get("/readyz"); return err == nil })
	const path = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/http_requests_per_second"
	var body string
	waitUntil(t, func() bool {
		var err error
		body, err = get(path)
		return err == nil
	})
	for _, want := range []string{`"value":"41500m"`, `"window":120`, `"name":"web-1"`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s lacks %s", body, want)
		}
	}
	if queries.Load() == 0 {
		t.Error("the server was never asked")
	}
	notes, err := get("/readyz?verbose")
	if err != nil || !strings.Contains(notes, "[i]backend prometheus: up") {
		t.Errorf("notes %s, %v", notes, err)
	}
}

func TestBackendOfFlags(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"defaults":   {nil, "GET https://localhost tls={} "},
		"post":       {[]string{"--prometheus-verb=POST", "--prometheus-url=http://p/x?dedup=true"}, "POST http://p/x?dedup=true tls={} "},
		"in cluster": {[]string{"--prometheus-auth-incluster"}, "GET https://localhost tls={" + serviceAccountCA + "  } bearer=" + serviceAccountToken},
		"in cluster, own authority": {
			[]string{"--prometheus-auth-incluster", "--prometheus-ca-file=ca"}, "GET https://localhost tls={ca  } ",
		},
		"token and certificates": {
			[]string{"--prometheus-token-file=t", "--prometheus-ca-file=ca", "--prometheus-client-tls-cert-file=c", "--prometheus-client-tls-key-file=k"},
			"GET https://localhost tls={ca c k} bearer=t",
		},
		"user in the URL": {[]string{"--prometheus-url=https://me:secret@p"}, "GET https://p tls={} user=me"},
		"user in the URL before a token": {
			[]string{"--prometheus-url=https://me:secret@p", "--prometheus-token-file=t"}, "GET https://p tls={} user=me",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := parseFlags(t, append(tc.args, "--config=a")...).prometheus.newFlaggedBackend()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, backendText(b)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func backendText(b config.Backend) string {
	tlsText := "{}"
	if c := b.HTTP.TLSConfig; c.CAFile+c.CertFile != "" {
		tlsText = fmt.Sprintf("{%s %s %s}", c.CAFile, c.CertFile, c.KeyFile)
	}
	text := fmt.Sprintf("%s %s tls=%s ", b.Method, b.URL, tlsText)
	if b.HTTP.Authorization != nil {
		text += "bearer=" + b.HTTP.Authorization.CredentialsFile
	}
	if b.HTTP.BasicAuth != nil {
		text += "user=" + b.HTTP.BasicAuth.Username
	}
	return text
}

// TestServerHeaders: any header that prometheus-adapter sends is sent, whatever else gives credentials.
func TestServerHeaders(t *testing.T) {
	t.Parallel()
	var received *http.Request
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { received = r }))
	t.Cleanup(server.Close)
	token := writeFile(t, "of-the-file")
	kubeconfig := writeFile(t, "{clusters: [{name: a, cluster: {server: '"+server.URL+"', insecure-skip-tls-verify: true}}], users: [{name: me, user: {token: of-the-kubeconfig}}], "+
		"contexts: [{name: a, context: {cluster: a, user: me}}], current-context: a}")
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	const basic = "Basic bWU6c2VjcmV0" // me:secret
	for name, tc := range map[string]struct {
		args []string
		want map[string]string
	}{
		"basic":                    {[]string{"--prometheus-header=Authorization=" + basic, "--prometheus-ca-file=" + ca}, map[string]string{"Authorization": basic}},
		"bearer before a token":    {[]string{"--prometheus-header=authorization=Bearer x", "--prometheus-token-file=" + token, "--prometheus-ca-file=" + ca}, map[string]string{"Authorization": "Bearer x"}},
		"token beside a header":    {[]string{"--prometheus-header=X-Scope-OrgID=shop", "--prometheus-token-file=" + token, "--prometheus-ca-file=" + ca}, map[string]string{"Authorization": "Bearer of-the-file", "X-Scope-Orgid": "shop"}},
		"any text":                 {[]string{"--prometheus-header=Authorization=Basic_x=", "--prometheus-ca-file=" + ca}, map[string]string{"Authorization": "Basic_x="}},
		"host and agent":           {[]string{"--prometheus-header=Host=mimir", "--prometheus-header=User-Agent=me", "--prometheus-ca-file=" + ca}, map[string]string{"Host": "mimir", "User-Agent": "me"}},
		"of the connection":        {[]string{"--prometheus-header=Connection=close", "--prometheus-header=A=1", "--prometheus-header=A=2", "--prometheus-ca-file=" + ca}, map[string]string{"Connection": "", "A": "1,2", "User-Agent": "tachometer/dev"}},
		"kubeconfig":               {[]string{"--prometheus-header=A=1", "--prometheus-auth-config=" + kubeconfig}, map[string]string{"Authorization": "Bearer of-the-kubeconfig", "A": "1"}},
		"kubeconfig and its user":  {[]string{"--prometheus-url=" + strings.Replace(server.URL, "//", "//me:secret@", 1), "--prometheus-auth-config=" + kubeconfig}, map[string]string{"Authorization": basic}},
		"header before kubeconfig": {[]string{"--prometheus-header=Authorization=Bearer x", "--prometheus-auth-config=" + kubeconfig}, map[string]string{"Authorization": "Bearer x"}},
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // they share the server
			transport, err := parseFlags(t, append(tc.args, "--config=a")...).prometheus.newServerTransport()
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Client{Transport: transport}).Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			for header, want := range tc.want {
				got := strings.Join(received.Header.Values(header), ",")
				if header == "Host" {
					got = received.Host
				}
				if got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
		})
	}
}

// TestServerHeadersAreBounded: whatever flags make the transport, the server's headers have the bound.
func TestServerHeadersAreBounded(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", strings.Repeat("x", 2*fieldlimit.MaxResponseHeaderBytes))
	}))
	t.Cleanup(server.Close)
	ca := writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	kubeconfig := writeFile(t, "{clusters: [{name: a, cluster: {server: '"+server.URL+"', insecure-skip-tls-verify: true}}], users: [{name: me, user: {token: x}}], "+
		"contexts: [{name: a, context: {cluster: a, user: me}}], current-context: a}")
	for _, args := range [][]string{{"--prometheus-auth-config=" + kubeconfig}, {"--prometheus-header=A=1", "--prometheus-ca-file=" + ca}} {
		transport, err := parseFlags(t, append(args, "--config=a")...).prometheus.newServerTransport()
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil || !fieldlimit.IsLongHeadersError(err) {
			t.Errorf("%q: error %v, want one of the headers", args, err)
		}
	}
}

func TestUnusedCredentials(t *testing.T) {
	t.Parallel()
	kubeconfig := func(server, user string) string {
		return writeFile(t, "{clusters: [{name: a, cluster: {server: '"+server+"'}}], users: [{name: me, user: "+user+"}], "+
			"contexts: [{name: a, context: {cluster: a, user: me}}], current-context: a}")
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"none":          {nil, ""},
		"with TLS":      {[]string{"--prometheus-auth-config=" + kubeconfig("https://p", "{token: x}")}, ""},
		"without user":  {[]string{"--prometheus-auth-config=" + kubeconfig("http://p", "{}")}, ""},
		"token by HTTP": {[]string{"--prometheus-auth-config=" + kubeconfig("http://p", "{token: x}")}, "its server http://p has no TLS"},
		"user by HTTP":  {[]string{"--prometheus-auth-config=" + kubeconfig("http://p", "{username: a, password: b}")}, "its server http://p has no TLS"},
		"beside a CA": {
			[]string{"--prometheus-auth-config=" + kubeconfig("https://p", "{token: x}"), "--prometheus-ca-file=ca"}, "because --prometheus-ca-file is given",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := parseFlags(t, append(tc.args, "--config=a")...).prometheus.describeUnusedAuth()
			if !strings.Contains(got, tc.want) || (tc.want == "") != (got == "") {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// TestFlagsOfTheOtherFormat: a server on the command line is nothing that a native configuration would use.
func TestFlagsOfTheOtherFormat(t *testing.T) {
	t.Parallel()
	opts := parseFlags(t, "--prometheus-url=http://p", "--config="+writeFile(t, configHeader))
	if _, err := readConfigOrDefaults(opts); err == nil || !strings.Contains(err.Error(), "servers are listed under backends") {
		t.Errorf("error %v", err)
	}
}
