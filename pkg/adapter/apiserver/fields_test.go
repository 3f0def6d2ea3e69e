package apiserver

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestHeaderFieldsAreBounded: a header of thousands of tiny fields ends its connection before it ends, and over HTTP/2 is rejected.
func TestHeaderFieldsAreBounded(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.ca)
	config := &tls.Config{RootCAs: pool, ServerName: "adapter.tachometer.svc", MinVersion: tls.VersionTLS13}
	c, err := tls.Dial("tcp", r.addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("a:\r\n", 300)); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(c); !strings.HasPrefix(string(got), "HTTP/1.1 400 ") { // it waits for the rest otherwise, until a timeout of a minute
		t.Errorf("300 fields without an end: %q", got)
	}

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	for fields, want := range map[int]int{10: http.StatusOK, 300: http.StatusRequestHeaderFieldsTooLarge} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.addr+"/livez", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for i := range fields {
			request.Header.Set(fmt.Sprint("X-", i), "")
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if _ = response.Body.Close(); response.StatusCode != want || response.ProtoMajor != 2 {
			t.Errorf("%d fields over %s: %d, want %d over HTTP/2", fields, response.Proto, response.StatusCode, want)
		}
	}
}
