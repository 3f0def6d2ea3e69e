package discovery

import (
	"net"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// newContainer declares ports written as "number", "name:number" or "number/UDP".
func newContainer(ports ...string) corev1.Container {
	var c corev1.Container
	for _, text := range ports {
		var p corev1.ContainerPort
		if name, rest, ok := strings.Cut(text, ":"); ok {
			p.Name, text = name, rest
		}
		number, protocol, _ := strings.Cut(text, "/")
		p.Protocol = corev1.Protocol(protocol)
		for _, digit := range number {
			p.ContainerPort = p.ContainerPort*10 + digit - '0'
		}
		c.Ports = append(c.Ports, p)
	}
	return c
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	type annotations = map[string]string
	for name, tc := range map[string]struct {
		ip          string
		annotations annotations
		containers  []corev1.Container
		want        string
		wantErr     string
	}{
		"only port":                    {containers: []corev1.Container{newContainer("8080")}, want: "http://10.0.0.7:8080/metrics"},
		"port named metrics":           {containers: []corev1.Container{newContainer("8080", "metrics:9090")}, want: "http://10.0.0.7:9090/metrics"},
		"port named http-metrics":      {containers: []corev1.Container{newContainer("8080", "http-metrics:9091")}, want: "http://10.0.0.7:9091/metrics"},
		"metrics before http-metrics":  {containers: []corev1.Container{newContainer("http-metrics:9091"), newContainer("metrics:9090")}, want: "http://10.0.0.7:9090/metrics"},
		"annotation before name":       {annotations: annotations{annotationPort: "7070"}, containers: []corev1.Container{newContainer("metrics:9090")}, want: "http://10.0.0.7:7070/metrics"},
		"annotation without any port":  {annotations: annotations{annotationPort: "7070"}, want: "http://10.0.0.7:7070/metrics"},
		"only port of two containers":  {containers: []corev1.Container{newContainer(), newContainer("8080/TCP")}, want: "http://10.0.0.7:8080/metrics"},
		"same port declared twice":     {containers: []corev1.Container{newContainer("8080"), newContainer("8080")}, want: "http://10.0.0.7:8080/metrics"},
		"UDP does not count":           {containers: []corev1.Container{newContainer("53/UDP", "8080")}, want: "http://10.0.0.7:8080/metrics"},
		"UDP named metrics":            {containers: []corev1.Container{newContainer("metrics:53/UDP", "8080")}, want: "http://10.0.0.7:8080/metrics"},
		"IPv6":                         {ip: "fd00::7", containers: []corev1.Container{newContainer("8080")}, want: "http://[fd00::7]:8080/metrics"},
		"scheme":                       {annotations: annotations{annotationScheme: "https"}, containers: []corev1.Container{newContainer("8443")}, want: "https://10.0.0.7:8443/metrics"},
		"path":                         {annotations: annotations{annotationPath: "/actuator/prometheus"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/actuator/prometheus"},
		"path with query":              {annotations: annotations{annotationPath: "/m?format=text"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/m?format=text"},
		"path with escapes":            {annotations: annotations{annotationPath: "/a%2Fb"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/a%2Fb"},
		"path like an authority":       {annotations: annotations{annotationPath: "//elsewhere/m"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80//elsewhere/m"},
		"no port":                      {wantErr: "no port is declared: annotate prometheus.io/port or name a container port metrics"},
		"only UDP":                     {containers: []corev1.Container{newContainer("53/UDP")}, wantErr: "no port is declared: annotate prometheus.io/port or name a container port metrics"},
		"several ports":                {containers: []corev1.Container{newContainer("80"), newContainer("81")}, wantErr: "several ports are declared, none named metrics or http-metrics: annotate prometheus.io/port"},
		"port is a name":               {annotations: annotations{annotationPort: "metrics"}, wantErr: `annotation prometheus.io/port is "metrics", not a port number`},
		"port is zero":                 {annotations: annotations{annotationPort: "0"}, wantErr: `annotation prometheus.io/port is "0", not a port number`},
		"port is too large":            {annotations: annotations{annotationPort: "65536"}, wantErr: `annotation prometheus.io/port is "65536", not a port number`},
		"port is empty":                {annotations: annotations{annotationPort: ""}, containers: []corev1.Container{newContainer("80")}, wantErr: `annotation prometheus.io/port is "", not a port number`},
		"scheme is unknown":            {annotations: annotations{annotationScheme: "ftp"}, containers: []corev1.Container{newContainer("80")}, wantErr: `annotation prometheus.io/scheme is "ftp", neither "http" nor "https"`},
		"path without a slash":         {annotations: annotations{annotationPath: "metrics"}, containers: []corev1.Container{newContainer("80")}, wantErr: `annotation prometheus.io/path is "metrics", which does not begin with a slash`},
		"path that moves the host":     {annotations: annotations{annotationPath: "@elsewhere/m"}, containers: []corev1.Container{newContainer("80")}, wantErr: `annotation prometheus.io/path is "@elsewhere/m", which does not begin with a slash`},
		"path with a control byte":     {annotations: annotations{annotationPath: "/a\nb"}, containers: []corev1.Container{newContainer("80")}, wantErr: `annotation prometheus.io/path is "/a\nb", which is not a path`},
		"path with a malformed escape": {annotations: annotations{annotationPath: "/%zz"}, containers: []corev1.Container{newContainer("80")}, wantErr: `annotation prometheus.io/path is "/%zz", which is not a path`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.ip == "" {
				tc.ip = "10.0.0.7"
			}
			got, err := buildEndpoint(tc.ip, tc.annotations, tc.containers)
			if got != tc.want || errorText(err) != tc.wantErr {
				t.Errorf("endpoint = %q, %v; want %q, %q", got, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestScrapeAnnotation(t *testing.T) {
	t.Parallel()
	for value, tc := range map[string]struct {
		wanted  bool
		wantErr string
	}{
		"true":  {wanted: true},
		"false": {wantErr: `annotation prometheus.io/scrape is "false"`},
		"yes":   {wantErr: `annotation prometheus.io/scrape is "yes", neither "true" nor "false"`},
		"":      {wantErr: `annotation prometheus.io/scrape is "", neither "true" nor "false"`},
	} {
		wanted, err := parseScrapeAnnotation(map[string]string{annotationScrape: value})
		if wanted != tc.wanted || errorText(err) != tc.wantErr {
			t.Errorf("scrapeAnnotation(%q) = %v, %v; want %v, %q", value, wanted, err, tc.wanted, tc.wantErr)
		}
	}
	if wanted, err := parseScrapeAnnotation(nil); wanted || err != nil {
		t.Errorf("scrapeAnnotation(none) = %v, %v; want false, nil", wanted, err)
	}
}

// FuzzEndpoint holds whatever people write into annotations against what must never happen: a scrape that
// goes anywhere but to the pod.
func FuzzEndpoint(f *testing.F) {
	f.Add("8080", "/metrics", "http")
	f.Add("443", "/m?a=b&c", "https")
	f.Add("1", "//elsewhere", "http")
	f.Add("80", "@elsewhere/", "http")
	f.Add("80", "/%2e%2e", "http")
	f.Add("80", "/a#b", "http")
	f.Fuzz(func(t *testing.T, port, path, scheme string) {
		text, err := buildEndpoint("10.0.0.7", map[string]string{
			annotationPort: port, annotationPath: path, annotationScheme: scheme,
		}, nil)
		if err != nil {
			if text != "" {
				t.Errorf("endpoint = %q with error %v", text, err)
			}
			return
		}
		u, err := url.Parse(text)
		if err != nil {
			t.Fatalf("endpoint = %q, which does not parse: %v", text, err)
		}
		host, _, err := net.SplitHostPort(u.Host)
		if err != nil || host != "10.0.0.7" || u.User != nil || u.Fragment != "" || !strings.HasPrefix(u.Path, "/") {
			t.Errorf("endpoint = %q, which is not on the pod", text)
		}
	})
}
