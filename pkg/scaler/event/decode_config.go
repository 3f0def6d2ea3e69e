// This file decodes the section events, except its rules.

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

const (
	minRewind    = time.Minute // the start of another replica
	maxRewind    = MaxTTL
	maxListItems = 100
)

// sourceRuleDecoder decodes the section events and collects its faults.
type sourceRuleDecoder struct{ *strict.Decoder }

// Decode decodes the section events and adds every error in it to the faults of strictly. With a fault, the result serves only to find
// further faults. The caller resolves the names of verifications and notifiers.
func Decode(strictly *strict.Decoder, path string, n *yaml.Node) Config {
	d := &sourceRuleDecoder{strictly}
	var c Config
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"kafka":  func(path string, n *yaml.Node) { c.Kafka = d.kafkaSourceFromYAML(path, n) },
		"http":   func(path string, n *yaml.Node) { c.HTTP = d.httpSourceFromYAML(path, n) },
		"rules":  func(path string, n *yaml.Node) { c.Rules = d.eventRulesFromYAML(path, n) },
		"fields": func(path string, n *yaml.Node) { c.Format.Fields = d.eventFieldPlacesFromYAML(path, n) },
		"ttl":    d.Duration(&c.Format.TTL, MinTTL, MaxTTL),
	})
	if c.Format.TTL == 0 {
		c.Format.TTL = DefaultTTL
	}
	if c.Kafka != nil && c.Kafka.Rewind == 0 {
		c.Kafka.Rewind = defaultRewind(c.Rules)
	}
	if d.HasFault(path) {
		return c
	}
	d.Require(path, "rules")
	if !d.HasKey(path+".kafka") && !d.HasKey(path+".http") {
		d.AddFault(path, "no source of events: give kafka or http, or both")
	}
	return c
}

func (d *sourceRuleDecoder) kafkaSourceFromYAML(path string, n *yaml.Node) *KafkaConfig {
	var k KafkaConfig
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"brokers": func(path string, n *yaml.Node) { k.Brokers = d.brokersFromYAML(path, n) },
		"topic":   d.patternedTextFromYAML(&k.Topic, topicNamePattern, "a topic: letters, digits, dots, _ and -, at most 249"),
		"rewind":  d.Duration(&k.Rewind, time.Second, maxRewind),
		"tls":     func(path string, n *yaml.Node) { k.TLS = d.kafkaTLSFromYAML(path, n) },
		"sasl": func(path string, n *yaml.Node) {
			d.HideValues(n, func() { k.SASL = d.kafkaSASLFromYAML(path, n) })
		},
	})
	d.Require(path, "brokers", "topic")
	if k.SASL != nil && k.SASL.Mechanism == MechanismPlain && k.TLS == nil {
		d.AddFault(path+".sasl.mechanism", "PLAIN sends the password in the clear; add tls: {}, or use SCRAM-SHA-512")
	}
	return &k
}

// fieldPlacePattern matches a FieldPlace.
var fieldPlacePattern = regexp.MustCompile(`^(key|timestamp|header\.[!-~]{1,100}|data(\.[^.\s]+)+)$`)

// eventFieldPlacesFromYAML decodes a mapping of fields to their places in a message.
func (d *sourceRuleDecoder) eventFieldPlacesFromYAML(path string, n *yaml.Node) map[string]FieldPlace {
	all := map[string]FieldPlace{}
	fields := map[string]strict.FieldDecoder{}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			fields[name] = func(path string, n *yaml.Node) {
				var place string
				d.patternedTextFromYAML(&place, fieldPlacePattern, "key, timestamp, header.NAME or data.PATH")(path, n)
				all[name] = FieldPlace(place)
			}
		}
	}
	d.DecodeMapping(path, n, fields)
	return all
}

func (d *sourceRuleDecoder) brokersFromYAML(path string, n *yaml.Node) []string {
	all := d.eventTextListFromYAML(path, n)
	for i, b := range all {
		host, port, err := net.SplitHostPort(b)
		if err != nil || host == "" || strict.ParsePort(port) == 0 {
			d.AddFault(path+"["+strconv.Itoa(i)+"]", "must be HOST:PORT, not %s", strict.Quote(b))
		}
	}
	return all
}

// eventTextListFromYAML decodes a list of texts, and rejects an empty or a long list.
func (d *sourceRuleDecoder) eventTextListFromYAML(path string, n *yaml.Node) []string {
	d.RejectEmpty(path, n)
	d.RejectLong(path, n, maxListItems)
	return d.DecodeTexts(path, n)
}

func (d *sourceRuleDecoder) kafkaTLSFromYAML(path string, n *yaml.Node) *KafkaTLS {
	var t KafkaTLS
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"caFile": d.eventSourceFileFromYAML(&t.CAFile), "certFile": d.eventSourceFileFromYAML(&t.CertFile), "keyFile": d.eventSourceKeyFromYAML(&t.KeyFile), "serverName": d.Text(&t.ServerName),
	})
	d.validateKafkaCertPair(path, t.CertFile, t.KeyFile)
	return &t
}

func (d *sourceRuleDecoder) validateKafkaCertPair(path, cert, key string) {
	if (cert == "") != (key == "") {
		d.AddFault(path, "certFile and keyFile go together")
	}
}

func (d *sourceRuleDecoder) kafkaSASLFromYAML(path string, n *yaml.Node) *KafkaSASL {
	var s KafkaSASL
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"mechanism": func(path string, n *yaml.Node) {
			s.Mechanism = d.DecodeEnum(path, n, MechanismScramSHA512, MechanismScramSHA256, MechanismPlain)
		},
		"usernameFile": d.eventSourceFileFromYAML(&s.UsernameFile), "passwordFile": d.eventSourceFileFromYAML(&s.PasswordFile),
	})
	d.Require(path, "mechanism", "usernameFile", "passwordFile")
	return &s
}

func (d *sourceRuleDecoder) httpSourceFromYAML(path string, n *yaml.Node) *HTTPConfig {
	var h HTTPConfig
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"address": d.Text(&h.Address),
		"secretFiles": func(path string, n *yaml.Node) {
			d.HideValues(n, func() {
				h.SecretFiles = d.eventTextListFromYAML(path, n)
				for i, f := range h.SecretFiles {
					d.validateEventSourcePath(path+"["+strconv.Itoa(i)+"]", f)
				}
			})
		},
		"certFile": d.eventSourceFileFromYAML(&h.CertFile), "keyFile": d.eventSourceKeyFromYAML(&h.KeyFile),
	})
	d.Require(path, "address", "secretFiles")
	if _, port, err := net.SplitHostPort(h.Address); h.Address != "" && (err != nil || port != "0" && strict.ParsePort(port) == 0) {
		d.AddFault(path+".address", "must be HOST:PORT or :PORT, not %s", strict.Quote(h.Address))
	}
	d.validateKafkaCertPair(path, h.CertFile, h.KeyFile)
	return &h
}

// eventSourceFileFromYAML decodes the path of a file, and rejects a relative path: it would depend on the scaler's working directory.
func (d *sourceRuleDecoder) eventSourceFileFromYAML(to *string) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		d.Text(to)(path, n)
		d.validateEventSourcePath(path, *to)
	}
}

// eventSourceKeyFromYAML is eventSourceFileFromYAML for a private key, which may stand there itself.
func (d *sourceRuleDecoder) eventSourceKeyFromYAML(to *string) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		d.HideValues(n, func() { d.eventSourceFileFromYAML(to)(path, n) })
	}
}

func (d *sourceRuleDecoder) validateEventSourcePath(path, file string) {
	if !filepath.IsAbs(file) {
		d.AddFault(path, "must be an absolute path, not %s", strict.Quote(file))
	}
}

// topicNamePattern matches the topic names that Kafka permits.
var topicNamePattern = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// patternedTextFromYAML decodes a text, and rejects it unless it matches form.
func (d *sourceRuleDecoder) patternedTextFromYAML(to *string, form *regexp.Regexp, want string) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		d.Text(to)(path, n)
		if !form.MatchString(*to) {
			d.AddFault(path, "must be %s, not %s", want, strict.DescribeNode(n))
		}
	}
}
