// This file lists the kinds of notifiers.

package notify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// senderKinds maps the name of a kind, as in the configuration, to the kind. A new notifier is one file with its senderKind, and one
// line here.
var senderKinds = map[string]senderKind{
	"slack":        slackKind,
	"teams":        teamsKind,
	"pagerduty":    pagerDutyKind,
	"alertmanager": alertmanagerKind,
	"webhook":      webhookKind,
}

// senderKind makes the senders of a kind.
type senderKind struct {
	// secretKey is the key of the file with the kind's secret, and secret its name; empty: urlFile, and the URL.
	secretKey, secret string
	// url is the receiver's URL without urlFile; empty: the kind needs urlFile.
	url string
	// endsTrouble is set if the receiver keeps trouble open until a message ends it: such a message has no lowest severity.
	endsTrouble bool
	// newSender returns a sender by the configuration.
	newSender func(c SenderConfig, opts SenderOptions) Sender
	// fields decode the keys of the kind into c; optional. All kinds have urlFile, severity, kinds, namespaces and allowAddresses.
	fields func(d *strict.Decoder, c *SenderConfig) map[string]strict.FieldDecoder
}

// Kinds lists the kinds of notifiers, as ParseSender takes them.
func Kinds() []string { return slices.Sorted(maps.Keys(senderKinds)) }

// listNotifierKinds formats the name of each kind, and joins the texts with separator.
func listNotifierKinds(format, separator string) string {
	names := slices.Sorted(maps.Keys(senderKinds))
	for i, name := range names {
		names[i] = fmt.Sprintf(format, name)
	}
	return strings.Join(names, separator)
}

// notifierKindFields returns the keys of a notifier: the kinds, of which it has exactly one.
func notifierKindFields(d *strict.Decoder, c *SenderConfig) map[string]strict.FieldDecoder {
	fields := map[string]strict.FieldDecoder{}
	for name, kind := range senderKinds {
		fields[name] = func(path string, n *yaml.Node) {
			c.kind = name
			keys := map[string]strict.FieldDecoder{}
			if kind.fields != nil {
				keys = kind.fields(d, c)
			}
			c.notifierFieldsFromYAML(d, path, n, kind, keys)
		}
	}
	return fields
}

// describeNotifierSecret returns the name of the secret in the kind's file.
func (k senderKind) describeNotifierSecret() string { return cmp.Or(k.secret, "URL") }
