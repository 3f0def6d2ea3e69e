package event

import (
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// The bounds of what a file may say.
const (
	maxRewind  = 24 * time.Hour
	maxSources = 100
)

// decoder reads the section of events.
type decoder struct{ *strict.Decoder }

// Decode reads the section events. Everything wrong with it becomes a fault of d; then it is of use for nothing but finding
// more. Names of verifications and of who is notified are the caller's to look up.
func Decode(strictly *strict.Decoder, path string, n *yaml.Node) Config {
	d := &decoder{strictly}
	var c Config
	d.Mapping(path, n, map[string]strict.Field{
		"kafka": func(path string, n *yaml.Node) { c.Kafka = d.kafka(path, n) },
		"http":  func(path string, n *yaml.Node) { c.HTTP = d.http(path, n) },
		"rules": func(path string, n *yaml.Node) { c.Rules = d.rules(path, n) },
	})
	if d.Failed(path) {
		return c
	}
	d.required(path, "rules")
	if !d.Given(path+".kafka") && !d.Given(path+".http") {
		d.Wrong(path, "say where events come from: kafka or http, or both")
	}
	return c
}

// required reports the keys that are missing.
func (d *decoder) required(path string, keys ...string) {
	for _, key := range keys {
		at := strict.JoinPath(path, key)
		if !d.Given(at) && !d.Failed(at) {
			d.Fault(at, d.Line(path), "required")
		}
	}
}

func (d *decoder) kafka(path string, n *yaml.Node) *KafkaConfig {
	k := KafkaConfig{Rewind: DefaultRewind}
	d.Mapping(path, n, map[string]strict.Field{
		"brokers": func(path string, n *yaml.Node) { k.Brokers = d.brokers(path, n) },
		"topic":   d.matching(&k.Topic, topicName, "a topic: letters, digits, dots, _ and -, at most 249"),
		"rewind":  d.Duration(&k.Rewind, time.Second, maxRewind),
		"tls":     func(path string, n *yaml.Node) { k.TLS = d.tls(path, n) },
		"sasl":    func(path string, n *yaml.Node) { k.SASL = d.sasl(path, n) },
	})
	d.required(path, "brokers", "topic")
	return &k
}

func (d *decoder) brokers(path string, n *yaml.Node) []string {
	all := d.list(path, n)
	for i, b := range all {
		host, port, err := net.SplitHostPort(b)
		if err != nil || host == "" || !portNumber(port) {
			d.Wrong(path+"["+strconv.Itoa(i)+"]", "must be HOST:PORT, not %q", strict.Shorten(b))
		}
	}
	return all
}

func portNumber(text string) bool {
	p, err := strconv.Atoi(text)
	return err == nil && p >= 0 && p <= 65535
}

// list reads texts, of which there must be some.
func (d *decoder) list(path string, n *yaml.Node) []string {
	all := d.Texts(path, n)
	switch {
	case n.Kind == yaml.SequenceNode && len(all) == 0:
		d.Fault(path, n.Line, "is empty")
	case len(all) > maxSources:
		d.Fault(path, n.Line, "has %d elements; up to %d are taken", len(all), maxSources)
	}
	return all
}

func (d *decoder) tls(path string, n *yaml.Node) *TLS {
	var t TLS
	d.Mapping(path, n, map[string]strict.Field{
		"caFile": d.file(&t.CAFile), "certFile": d.file(&t.CertFile), "keyFile": d.file(&t.KeyFile), "serverName": d.Text(&t.ServerName),
	})
	d.together(path, t.CertFile, t.KeyFile)
	return &t
}

func (d *decoder) together(path, cert, key string) {
	if (cert == "") != (key == "") {
		d.Wrong(path, "certFile and keyFile go together")
	}
}

func (d *decoder) sasl(path string, n *yaml.Node) *SASL {
	var s SASL
	d.Mapping(path, n, map[string]strict.Field{
		"mechanism":    func(path string, n *yaml.Node) { s.Mechanism = d.Word(path, n, ScramSHA512, ScramSHA256, Plain) },
		"usernameFile": d.file(&s.UsernameFile), "passwordFile": d.file(&s.PasswordFile),
	})
	d.required(path, "mechanism", "usernameFile", "passwordFile")
	return &s
}

func (d *decoder) http(path string, n *yaml.Node) *HTTPConfig {
	var h HTTPConfig
	d.Mapping(path, n, map[string]strict.Field{
		"address": d.Text(&h.Address),
		"secretFiles": func(path string, n *yaml.Node) {
			h.SecretFiles = d.list(path, n)
			for i, f := range h.SecretFiles {
				d.absolute(path+"["+strconv.Itoa(i)+"]", f)
			}
		},
		"certFile": d.file(&h.CertFile), "keyFile": d.file(&h.KeyFile),
	})
	d.required(path, "address", "secretFiles")
	if _, port, err := net.SplitHostPort(h.Address); h.Address != "" && (err != nil || !portNumber(port)) {
		d.Wrong(path+".address", "must be HOST:PORT or :PORT, not %q", strict.Shorten(h.Address))
	}
	d.together(path, h.CertFile, h.KeyFile)
	return &h
}

// file reads the path of a file; a relative one would depend on where the scaler was started.
func (d *decoder) file(to *string) strict.Field {
	return func(path string, n *yaml.Node) {
		d.Text(to)(path, n)
		d.absolute(path, *to)
	}
}

func (d *decoder) absolute(path, file string) {
	if !filepath.IsAbs(file) {
		d.Wrong(path, "must be an absolute path, not %q", strict.Shorten(file))
	}
}

// topicName is what Kafka takes.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// matching reads text of a form.
func (d *decoder) matching(to *string, form *regexp.Regexp, want string) strict.Field {
	return func(path string, n *yaml.Node) {
		d.Text(to)(path, n)
		if !form.MatchString(*to) {
			d.Wrong(path, "must be %s, not %s", want, strict.Describe(n))
		}
	}
}
