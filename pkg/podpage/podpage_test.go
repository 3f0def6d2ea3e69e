package podpage

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

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestURL(t *testing.T) {
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
		"annotation before name":       {annotations: annotations{AnnotationPort: "7070"}, containers: []corev1.Container{newContainer("metrics:9090")}, want: "http://10.0.0.7:7070/metrics"},
		"annotation without any port":  {annotations: annotations{AnnotationPort: "7070"}, want: "http://10.0.0.7:7070/metrics"},
		"only port of two containers":  {containers: []corev1.Container{newContainer(), newContainer("8080/TCP")}, want: "http://10.0.0.7:8080/metrics"},
		"same port declared twice":     {containers: []corev1.Container{newContainer("8080"), newContainer("8080")}, want: "http://10.0.0.7:8080/metrics"},
		"UDP does not count":           {containers: []corev1.Container{newContainer("53/UDP", "8080")}, want: "http://10.0.0.7:8080/metrics"},
		"UDP named metrics":            {containers: []corev1.Container{newContainer("metrics:53/UDP", "8080")}, want: "http://10.0.0.7:8080/metrics"},
		"IPv6":                         {ip: "fd00::7", containers: []corev1.Container{newContainer("8080")}, want: "http://[fd00::7]:8080/metrics"},
		"scheme":                       {annotations: annotations{AnnotationScheme: "https"}, containers: []corev1.Container{newContainer("8443")}, want: "https://10.0.0.7:8443/metrics"},
		"path":                         {annotations: annotations{AnnotationPath: "/actuator/prometheus"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/actuator/prometheus"},
		"path with query":              {annotations: annotations{AnnotationPath: "/m?format=text"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/m?format=text"},
		"path with escapes":            {annotations: annotations{AnnotationPath: "/a%2Fb"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/a%2Fb"},
		"path like an authority":       {annotations: annotations{AnnotationPath: "//elsewhere/m"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80//elsewhere/m"},
		"no port":                      {wantErr: "no port is declared: annotate prometheus.io/port or name a container port metrics"},
		"only UDP":                     {containers: []corev1.Container{newContainer("53/UDP")}, wantErr: "no port is declared: annotate prometheus.io/port or name a container port metrics"},
		"several ports":                {containers: []corev1.Container{newContainer("80"), newContainer("81", "80")}, wantErr: "several ports are declared (80, 81), none named metrics or http-metrics: annotate prometheus.io/port"},
		"many ports":                   {containers: []corev1.Container{newContainer("1", "2", "3", "4", "5")}, wantErr: "several ports are declared (1, 2, 3, 4, …), none named metrics or http-metrics: annotate prometheus.io/port"},
		"two ports named metrics":      {containers: []corev1.Container{newContainer("metrics:9090"), newContainer("metrics:9901")}, wantErr: "several ports are named metrics (9090, 9901): annotate prometheus.io/port"},
		"one port named twice":         {containers: []corev1.Container{newContainer("metrics:9090"), newContainer("metrics:9090")}, want: "http://10.0.0.7:9090/metrics"},
		"two ports named http-metrics": {containers: []corev1.Container{newContainer("http-metrics:1", "http-metrics:2")}, wantErr: "several ports are named http-metrics (1, 2): annotate prometheus.io/port"},
		"two named, one annotated":     {annotations: annotations{AnnotationPort: "9901"}, containers: []corev1.Container{newContainer("metrics:9090"), newContainer("metrics:9901")}, want: "http://10.0.0.7:9901/metrics"},
		"exporter beside the service":  {containers: []corev1.Container{newContainer("8080"), newContainer("metrics:9113")}, want: "http://10.0.0.7:9113/metrics"},
		"port by its name":             {annotations: annotations{AnnotationPort: "web"}, containers: []corev1.Container{newContainer("metrics:9090", "web:8080")}, want: "http://10.0.0.7:8080/metrics"},
		"port by its name, UDP":        {annotations: annotations{AnnotationPort: "dns"}, containers: []corev1.Container{newContainer("dns:53/UDP", "dns-tcp:53")}, wantErr: `annotation prometheus.io/port is "dns", not a port number, and no port has this name`},
		"port by the name of two":      {annotations: annotations{AnnotationPort: "web"}, containers: []corev1.Container{newContainer("web:80"), newContainer("web:81")}, wantErr: `annotation prometheus.io/port is "web", and several ports have this name (80, 81): write a number`},
		"port is a name":               {annotations: annotations{AnnotationPort: "metrics"}, wantErr: `annotation prometheus.io/port is "metrics", not a port number, and no port has this name`},
		"port is zero":                 {annotations: annotations{AnnotationPort: "0"}, wantErr: `annotation prometheus.io/port is "0", not a port number, and no port has this name`},
		"port is too large":            {annotations: annotations{AnnotationPort: "65536"}, wantErr: `annotation prometheus.io/port is "65536", not a port number, and no port has this name`},
		"port has a sign":              {annotations: annotations{AnnotationPort: "+80"}, wantErr: `annotation prometheus.io/port is "+80", not a port number, and no port has this name`},
		"port is a list":               {annotations: annotations{AnnotationPort: "80,81"}, wantErr: `annotation prometheus.io/port is "80,81", not a port number, and no port has this name`},
		"port is empty":                {annotations: annotations{AnnotationPort: ""}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/metrics"},
		"port with space around":       {annotations: annotations{AnnotationPort: " 9090\n"}, want: "http://10.0.0.7:9090/metrics"},
		"port with a leading zero":     {annotations: annotations{AnnotationPort: "09090"}, want: "http://10.0.0.7:9090/metrics"},
		"scheme is empty":              {annotations: annotations{AnnotationScheme: ""}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/metrics"},
		"scheme in capitals":           {annotations: annotations{AnnotationScheme: "HTTPS"}, containers: []corev1.Container{newContainer("80")}, want: "https://10.0.0.7:80/metrics"},
		"scheme is unknown":            {annotations: annotations{AnnotationScheme: "ftp"}, containers: []corev1.Container{newContainer("80")}, wantErr: `annotation prometheus.io/scheme is "ftp", neither "http" nor "https"`},
		"path is empty":                {annotations: annotations{AnnotationPath: ""}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/metrics"},
		"path is space":                {annotations: annotations{AnnotationPath: " \n"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/metrics"},
		"path without a slash":         {annotations: annotations{AnnotationPath: "metrics"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/metrics"},
		"path that moves the host":     {annotations: annotations{AnnotationPath: "@elsewhere/m"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/@elsewhere/m"},
		"path that is a port":          {annotations: annotations{AnnotationPath: ":81/m"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/:81/m"},
		"path that is a URL":           {annotations: annotations{AnnotationPath: "http://elsewhere/m"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/http://elsewhere/m"},
		"path with a control byte":     {annotations: annotations{AnnotationPath: "/a\nb"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/a%0Ab"},
		"path with a malformed escape": {annotations: annotations{AnnotationPath: "/%zz"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/%25zz"},
		"path with a fragment":         {annotations: annotations{AnnotationPath: "/a#b"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/a%23b"},
		"query without a path":         {annotations: annotations{AnnotationPath: "?format=text"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/metrics?format=text"},
		"query with a fragment":        {annotations: annotations{AnnotationPath: "/m?a#b c\r\n"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/m?a%23b%20c"},
		"parameter":                    {annotations: annotations{"prometheus.io/param_format": "prometheus"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/metrics?format=prometheus"},
		"parameters and a query":       {annotations: annotations{AnnotationPath: "/m?a=1", "prometheus.io/param-b-c": "2 3", "prometheus.io/params": "x", "prometheus.io/param_": "x"}, containers: []corev1.Container{newContainer("80")}, want: "http://10.0.0.7:80/m?a=1&b_c=2+3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.ip == "" {
				tc.ip = "10.0.0.7"
			}
			u, _, err := URL(tc.ip, tc.annotations, tc.containers)
			got := ""
			if err == nil {
				got = u.String()
			}
			if got != tc.want || errorText(err) != tc.wantErr {
				t.Errorf("URL = %q, %v; want %q, %q", got, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestIsWanted(t *testing.T) {
	t.Parallel()
	for value, tc := range map[string]struct {
		wanted  bool
		wantErr string
	}{
		"true":  {wanted: true},
		"false": {wantErr: `annotation prometheus.io/scrape is "false"`},
		"yes":   {wantErr: `annotation prometheus.io/scrape is "yes", neither "true" nor "false"`},
		"True":  {wantErr: `annotation prometheus.io/scrape is "True", neither "true" nor "false"`},
		"true ": {wanted: true}, //nolint:gocritic // the space is the case
		"":      {},
	} {
		wanted, err := IsWanted(map[string]string{AnnotationScrape: value})
		if wanted != tc.wanted || errorText(err) != tc.wantErr {
			t.Errorf("IsWanted(%q) = %v, %v; want %v, %q", value, wanted, err, tc.wanted, tc.wantErr)
		}
	}
	if wanted, err := IsWanted(nil); wanted || err != nil {
		t.Errorf("IsWanted(none) = %v, %v; want false, nil", wanted, err)
	}
}

func TestServingContainer(t *testing.T) {
	t.Parallel()
	named := func(name string, ports ...string) corev1.Container {
		c := newContainer(ports...)
		c.Name = name
		return c
	}
	for name, tc := range map[string]struct {
		containers []corev1.Container
		want       string
	}{
		"declared":           {[]corev1.Container{named("app", "8080"), named("proxy", "9090")}, "proxy"},
		"only container":     {[]corev1.Container{named("app")}, "app"},
		"none declares it":   {[]corev1.Container{named("app", "8080"), named("proxy")}, ""},
		"two declare it":     {[]corev1.Container{named("app", "9090"), named("proxy", "9090")}, ""},
		"declared, not TCP":  {[]corev1.Container{named("app", "9090/UDP"), named("proxy", "9090")}, "proxy"},
		"without containers": {nil, ""},
	} {
		if got := ServingContainer(tc.containers, 9090); got != tc.want {
			t.Errorf("%s: container = %q, want %q", name, got, tc.want)
		}
	}
}

// FuzzURL holds whatever people write into annotations against what must never happen: a scrape that
// goes anywhere but to the pod.
func FuzzURL(f *testing.F) {
	f.Add("8080", "/metrics", "http")
	f.Add("443", "/m?a=b&c", "https")
	f.Add("1", "//elsewhere", "http")
	f.Add("80", "@elsewhere/", "http")
	f.Add("80", "/%2e%2e", "http")
	f.Add("80", "/a#b", "http")
	f.Add("80", "/a?b#c", "http")
	f.Add("80", "/a?b\r\nHost: elsewhere", "http")
	f.Fuzz(func(t *testing.T, port, path, scheme string) {
		page, _, err := URL("10.0.0.7", map[string]string{
			AnnotationPort: port, AnnotationPath: path, AnnotationScheme: scheme, AnnotationParam + "_x": path,
		}, nil)
		if err != nil {
			return
		}
		text := page.String()
		u, err := url.Parse(text)
		if err != nil {
			t.Fatalf("URL = %q, which does not parse: %v", text, err)
		}
		host, _, err := net.SplitHostPort(u.Host)
		if err != nil || host != "10.0.0.7" || u.User != nil || u.Fragment != "" || !strings.HasPrefix(u.Path, "/") {
			t.Errorf("URL = %q, which is not on the pod", text)
		}
	})
}
