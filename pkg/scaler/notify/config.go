package notify

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Config is the configuration of a notifier. Decode and ParseSender make it.
type Config struct {
	kind    string // a key of senderKinds
	urlFile string // holds the URL
	headers map[string]string
}

// NewSender returns the sender of the configuration. The configuration's headers are added to the headers of opts.
func (c Config) NewSender(opts SenderOptions) Sender { return senderKinds[c.kind].newSender(c, opts) }

// ReadURL reads the URL from its file.
func (c Config) ReadURL() (string, error) { return webhook.URLFromFile(c.urlFile)() }

// ParseSender parses KIND:FILE, such as slack:FILE, and returns the sender. The file holds the URL, and must exist.
func ParseSender(text string, opts SenderOptions) (Sender, error) {
	want := "want " + listNotifierKinds("%s:FILE", " or ") + ", where the file holds the URL"
	if strings.Contains(text, "://") { // the error must not show a URL
		return nil, errors.New("notify: " + want + "; the URL itself is a secret")
	}
	kind, file, _ := strings.Cut(text, ":")
	if _, known := senderKinds[kind]; !known || file == "" {
		return nil, fmt.Errorf("notify %q: %s", strict.Shorten(text), want)
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("notify %s: find the file with the URL: %w", kind, err)
	case info.IsDir():
		return nil, fmt.Errorf("notify %s: %s is a directory, not a file with the URL", kind, file)
	}
	return Config{kind: kind, urlFile: file}.NewSender(opts), nil
}

// Decode decodes a notifier: a kind with urlFile and the keys of the kind, such as the headers of a webhook. It adds every error to
// the faults of d. With a fault, the result serves only to find further faults.
func Decode(d *strict.Decoder, path string, n *yaml.Node) Config {
	var c Config
	fields := notifierKindFields(d, &c)
	d.DecodeMapping(path, n, fields)
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

// notifierFieldsFromYAML decodes urlFile and the keys of the kind.
func (c *Config) notifierFieldsFromYAML(d *strict.Decoder, path string, n *yaml.Node, fields map[string]strict.FieldDecoder) {
	fields["urlFile"] = func(path string, n *yaml.Node) {
		d.Text(&c.urlFile)(path, n)
		switch {
		case strings.Contains(c.urlFile, "://"):
			d.AddFault(path, "must be the file that holds the URL, not the URL itself, which is a secret")
		case !filepath.IsAbs(c.urlFile):
			d.AddFault(path, "must be an absolute path, not %q", strict.Shorten(c.urlFile))
		}
	}
	d.DecodeMapping(path, n, fields)
	d.Require(path, "urlFile")
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
	d.DecodeMapping(path, n, fields)
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
