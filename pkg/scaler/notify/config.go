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

// The kinds of senders.
const (
	kindSlack   = "slack"
	kindWebhook = "webhook"
)

// Config is whom to tell, as a configuration says it. Decode and ParseSender make it.
type Config struct {
	kind    string
	urlFile string // holds the URL
	headers map[string]string
}

// NewSender is the one that the configuration describes. The configuration's headers are sent along with those of opts.
func (c Config) NewSender(opts SenderOptions) Sender {
	if c.kind == kindSlack {
		return NewSlack(c.ReadURL, opts)
	}
	headers := map[string]string{}
	for _, given := range []map[string]string{opts.Headers, c.headers} {
		for name, value := range given {
			headers[name] = value
		}
	}
	opts.Headers = headers
	return NewWebhook(c.ReadURL, opts)
}

// ReadURL reads the URL from its file.
func (c Config) ReadURL() (string, error) { return webhook.URLFromFile(c.urlFile)() }

// ParseSender reads slack:FILE or webhook:FILE, where the file holds the URL. It must be there.
func ParseSender(text string, opts SenderOptions) (Sender, error) {
	if strings.Contains(text, "://") { // which is not to show in an error, too
		return nil, errors.New("notify: want slack:FILE or webhook:FILE, where the file holds the URL; the URL itself is a secret")
	}
	kind, file, _ := strings.Cut(text, ":")
	if kind != kindSlack && kind != kindWebhook || file == "" {
		return nil, fmt.Errorf("notify %q: want slack:FILE or webhook:FILE, where the file holds the URL", strict.Shorten(text))
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

// Decode reads one of those to tell: slack or webhook, each with urlFile, and webhook with headers. Everything wrong with it
// becomes a fault of d; then it is of use for nothing but finding more.
func Decode(d *strict.Decoder, path string, n *yaml.Node) Config {
	var c Config
	d.Mapping(path, n, map[string]strict.Field{
		kindSlack: func(path string, n *yaml.Node) {
			c.kind = kindSlack
			c.decodeSenderFields(d, path, n, map[string]strict.Field{})
		},
		kindWebhook: func(path string, n *yaml.Node) {
			c.kind = kindWebhook
			c.decodeSenderFields(d, path, n, map[string]strict.Field{"headers": func(path string, n *yaml.Node) { c.headers = decodeSenderHeaders(d, path, n) }})
		},
	})
	if d.Given(path+"."+kindSlack) == d.Given(path+"."+kindWebhook) {
		d.Wrong(path, "say one of slack and webhook")
	}
	return c
}

// decodeSenderFields reads urlFile, beside what else there may be.
func (c *Config) decodeSenderFields(d *strict.Decoder, path string, n *yaml.Node, fields map[string]strict.Field) {
	fields["urlFile"] = func(path string, n *yaml.Node) {
		d.Text(&c.urlFile)(path, n)
		switch {
		case strings.Contains(c.urlFile, "://"):
			d.Wrong(path, "must be the file that holds the URL, not the URL, which is a secret")
		case !filepath.IsAbs(c.urlFile):
			d.Wrong(path, "must be an absolute path, not %q", strict.Shorten(c.urlFile))
		}
	}
	d.Mapping(path, n, fields)
	if at := strict.JoinPath(path, "urlFile"); !d.Given(at) && !d.Failed(at) {
		d.Fault(at, d.Line(path), "required")
	}
}

var (
	headerNamePattern  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")
	headerValuePattern = regexp.MustCompile(`^[\x20-\x7e]{1,1000}$`)
	// reservedHeaders are the headers that a message has anyway, and those that are the connection's.
	reservedHeaders = []string{"Content-Type", "Content-Length", "Host", "Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade"}
	// secretHeaders are the headers that are none for a ConfigMap.
	secretHeaders = []string{"Authorization", "Proxy-Authorization", "Cookie"}
)

func decodeSenderHeaders(d *strict.Decoder, path string, n *yaml.Node) map[string]string {
	all := map[string]string{}
	fields := map[string]strict.Field{}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			fields[name] = func(path string, n *yaml.Node) { decodeSenderHeader(d, path, n, name, all) }
		}
	}
	d.Mapping(path, n, fields)
	return all
}

func decodeSenderHeader(d *strict.Decoder, path string, n *yaml.Node, name string, all map[string]string) {
	var value string
	d.Text(&value)(path, n)
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !headerNamePattern.MatchString(name):
		d.Wrong(path, "%q is no name of a header", strict.Shorten(name))
	case slices.Contains(reservedHeaders, canonical):
		d.Wrong(path, "is not to be set")
	case slices.Contains(secretHeaders, canonical):
		d.Wrong(path, "is a secret; write USER:PASSWORD@ before the host of the URL in its file")
	case !headerValuePattern.MatchString(value):
		d.Wrong(path, "must be at most 1000 printable characters of ASCII")
	default:
		all[canonical] = value
	}
}
