// This file decodes notifiers.

package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	template "github.com/DataDog/datadog-agent/pkg/template/text"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// SenderConfig is the configuration of a notifier. Decode and ParseSender make it.
type SenderConfig struct {
	kind     string // a key of senderKinds
	urlFile  string // holds the URL
	keyFile  string // holds the routing key of PagerDuty
	severity Severity
	kinds    []Kind // of messages to send; nil: all
	// namespaces are the namespaces with Holds that may name the notifier.
	namespaces []string
	allow      []netip.Prefix // addresses of the scaler's own machine and links that it may call
	headers    map[string]string
	body       *template.Template // of a Webhook; nil: the message as JSON
}

// NewSender returns the sender of the configuration. The configuration's headers are added to the headers of opts. Without a client in opts,
// the sender does not reach loopback and link-local addresses that the configuration does not allow.
func (c SenderConfig) NewSender(opts SenderOptions) Sender {
	if opts.Client == nil {
		opts.Client = webhook.NewGuardedClient(c.allow)
	}
	sender := senderKinds[c.kind].newSender(c, opts)
	if (c.severity == "" || c.severity == SeverityInfo) && c.kinds == nil {
		return sender
	}
	return &filteredSender{Sender: sender, SenderConfig: c}
}

// Unfiltered returns the configuration of a notifier that sends all messages, whatever their severity and kind.
func (c SenderConfig) Unfiltered() SenderConfig {
	c.severity, c.kinds = "", nil
	return c
}

// AllowedAddresses returns the loopback and link-local addresses that the notifier may call.
func (c SenderConfig) AllowedAddresses() []netip.Prefix { return c.allow }

// Namespaces returns the namespaces with Holds that may name the notifier.
func (c SenderConfig) Namespaces() []string { return c.namespaces }

// filteredSender sends the messages of some kinds, from a severity on.
type filteredSender struct {
	Sender
	SenderConfig
}

// Send implements Sender.
func (s *filteredSender) Send(ctx context.Context, m Message) error {
	if isEnd := senderKinds[s.kind].endsTrouble && m.isEndOfTrouble(); !isEnd && !s.isMessageWanted(m.Kind, m.Severity) {
		return errNotMeant
	}
	return s.Sender.Send(ctx, m)
}

// isMessageWanted reports whether the notifier sends messages of a kind and severity. It sends unknown ones: nobody should miss them.
func (c SenderConfig) isMessageWanted(k Kind, severity Severity) bool {
	if rank, known := severityRanks[severity]; known && rank < severityRanks[c.severity] {
		return false
	}
	return c.kinds == nil || k.Severity() == "" || slices.Contains(c.kinds, k)
}

// hasWantedMessage reports whether there is a message that the notifier sends. To a receiver of trouble, other messages only end it.
func (c SenderConfig) hasWantedMessage() bool {
	all := slices.Clone(troubleKinds)
	if !senderKinds[c.kind].endsTrouble {
		all = append(all, calmKinds...)
	}
	return slices.ContainsFunc(all, func(k Kind) bool { return c.isMessageWanted(k, k.Severity()) })
}

// ReadURL reads the URL from its file. A notifier without a URL is no webhook.
func (c SenderConfig) ReadURL() (string, error) {
	if c.urlFile == "" {
		return "", errors.New("a notifier of the kind " + c.kind + " has no URL to call")
	}
	return webhook.URLFromFile(c.urlFile)()
}

// URLFile returns the file that holds the URL; empty: the notifier has no URL.
func (c SenderConfig) URLFile() string { return c.urlFile }

// SenderSyntax returns the forms of ParseSender's text, for help and errors.
func SenderSyntax() string {
	return listNotifierKinds("%s:FILE", " or ") + ", where the file holds the URL, or PagerDuty's routing key"
}

// ParseSender parses KIND:FILE, such as slack:FILE, and returns the sender. The file holds the URL, or PagerDuty's routing key, and must
// exist. The sender may call any address: its user is on the machine that calls.
func ParseSender(text string, opts SenderOptions) (Sender, error) {
	want := "want " + SenderSyntax()
	if strings.Contains(text, "://") { // the error must not show a URL
		return nil, errors.New("notify: " + want + "; the URL itself is a secret")
	}
	name, file, _ := strings.Cut(text, ":")
	kind, known := senderKinds[name]
	if !known || file == "" {
		return nil, fmt.Errorf("notify %q: %s", strict.Shorten(text), want)
	}
	info, err := os.Stat(file)
	if missing := (*fs.PathError)(nil); errors.As(err, &missing) {
		err = missing.Err // without the path, which is the secret itself where a person gave that
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("notify %s: find the file with the %s: %w; %s", name, kind.describeNotifierSecret(), err, want)
	case info.IsDir():
		return nil, fmt.Errorf("notify %s: %s is a directory, not a file with the %s", name, file, kind.describeNotifierSecret())
	}
	c := SenderConfig{kind: name, urlFile: file}
	if kind.secretKey != "" {
		c.urlFile, c.keyFile = "", file
	}
	if opts.Client == nil {
		opts.Client = webhook.NewClient(nil)
	}
	return c.NewSender(opts), nil
}

// Decode decodes a notifier: a kind with urlFile and the keys of the kind, such as the headers of a webhook. It adds every error to
// the faults of d. With a fault, the result serves only to find further faults.
func Decode(d *strict.Decoder, path string, n *yaml.Node) SenderConfig {
	var c SenderConfig
	fields := notifierKindFields(d, &c)
	decodeNotifierMapping(d, path, n, fields)
	given := 0
	for name := range fields {
		if d.HasKey(path + "." + name) {
			given++
		}
	}
	if given != 1 {
		d.AddFault(path, "must have one of %s", listNotifierKinds("%s", " and "))
	}
	return c
}

// notifierFileFromYAML decodes the path of a file that holds a secret.
func notifierFileFromYAML(d *strict.Decoder, to *string, secret string) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		d.HideValues(n, func() { d.Text(to)(path, n) })
		switch {
		case strings.Contains(*to, "://"):
			d.AddFault(path, "must be the file that holds the %s, not the %s itself, which is a secret", secret, secret)
		case !filepath.IsAbs(*to):
			d.AddFault(path, "must be an absolute path: that of the file that holds the %s", secret)
		}
	}
}

// decodeNotifierMapping decodes a mapping. Another value in its place may be the secret that belongs into a file.
func decodeNotifierMapping(d *strict.Decoder, path string, n *yaml.Node, fields map[string]strict.FieldDecoder) {
	if n.Kind == yaml.MappingNode {
		d.DecodeMapping(path, n, fields)
		return
	}
	d.HideValues(n, func() { d.DecodeMapping(path, n, fields) })
}

// notifierFieldsFromYAML decodes the keys of all kinds, and the keys of the kind.
func (c *SenderConfig) notifierFieldsFromYAML(d *strict.Decoder, path string, n *yaml.Node, kind senderKind, fields map[string]strict.FieldDecoder) {
	fields["urlFile"] = notifierFileFromYAML(d, &c.urlFile, "URL")
	fields["severity"] = func(path string, n *yaml.Node) {
		c.severity = Severity(d.DecodeEnum(path, n, string(SeverityInfo), string(SeverityWarning), string(SeverityCritical)))
	}
	fields["kinds"] = func(path string, n *yaml.Node) { c.kinds = messageKindsFromYAML(d, path, n) }
	fields["namespaces"] = func(path string, n *yaml.Node) { c.namespaces = d.DecodeTexts(path, n) }
	fields["allowAddresses"] = func(path string, n *yaml.Node) { c.allow = notifierAddressesFromYAML(d, path, n) }
	decodeNotifierMapping(d, path, n, fields)
	d.Require(path, cmp.Or(kind.secretKey, "urlFile"))
	if len(c.kinds) > 0 && !c.hasWantedMessage() {
		d.AddFault(path+".kinds", "no message is of these kinds and of severity %s: %s sends nothing", cmp.Or(c.severity, SeverityInfo), c.kind)
	}
}

// messageKindsFromYAML decodes a list of kinds of messages, such as rolledBack.
func messageKindsFromYAML(d *strict.Decoder, path string, n *yaml.Node) (kinds []Kind) {
	known := slices.Concat(calmKinds, troubleKinds)
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = strings.ToLower(string(k[:1])) + string(k[1:])
	}
	d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
		kinds = append(kinds, known[slices.Index(words, d.DecodeEnum(path, n, words...))])
	})
	d.RejectEmpty(path, n)
	return kinds
}

// notifierAddressesFromYAML decodes a list of addresses, or of networks such as 127.0.0.0/8.
func notifierAddressesFromYAML(d *strict.Decoder, path string, n *yaml.Node) []netip.Prefix {
	var all []netip.Prefix
	for i, text := range d.DecodeTexts(path, n) {
		network, err := netip.ParsePrefix(text)
		if address, addressErr := netip.ParseAddr(text); addressErr == nil {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			d.AddFault(strict.IndexPath(path, i), "must be an address or a network such as 127.0.0.0/8, not %q", strict.Shorten(text))
			continue
		}
		all = append(all, network.Masked())
	}
	return all
}

var (
	headerNamePattern  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")
	headerValuePattern = regexp.MustCompile(`^[\x20-\x7e]{1,1000}$`)
	// reservedHeaders are the headers of every message and of the connection.
	reservedHeaders = []string{"Content-Type", "Content-Length", "Host", "Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade"}
	// secretHeaders do not belong into a ConfigMap.
	secretHeaders = []string{"Authorization", "Proxy-Authorization", "Cookie"}
)

func notifierHeadersFromYAML(d *strict.Decoder, path string, n *yaml.Node) map[string]string {
	all := map[string]string{}
	fields := map[string]strict.FieldDecoder{}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			fields[name] = func(path string, n *yaml.Node) { notifierHeaderFromYAML(d, path, n, name, all) }
		}
	}
	d.HideValues(n, func() { d.DecodeMapping(path, n, fields) })
	return all
}

func notifierHeaderFromYAML(d *strict.Decoder, path string, n *yaml.Node, name string, all map[string]string) {
	var value string
	d.Text(&value)(path, n)
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !headerNamePattern.MatchString(name):
		d.AddFault(path, "%q is not a valid header name", strict.Shorten(name))
	case slices.Contains(reservedHeaders, canonical):
		d.AddFault(path, "is reserved")
	case slices.Contains(secretHeaders, canonical):
		d.AddFault(path, "is a secret; write USER:PASSWORD@ before the host of the URL in its file")
	case !headerValuePattern.MatchString(value):
		d.AddFault(path, "must be at most 1000 printable characters of ASCII")
	default:
		all[canonical] = value
	}
}
