// This file reads CloudEvents 1.0. In binary mode the attributes are headers, named ce_NAME in Kafka and ce-NAME in HTTP, and the message is
// the data. In structured mode the message is an object with the attributes and the data.

package event

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

const (
	specVersionAttribute = "specversion"
	timeAttribute        = "time"
	dataAttribute        = "data"
	base64DataAttribute  = "data_base64"
)

// cloudEventHeaderAttributes returns the attributes of a CloudEvent in binary mode, or nil for any other message.
func cloudEventHeaderAttributes(headers map[string]string) map[string]any {
	attributes := map[string]any{}
	for _, prefix := range []string{"ce-", "ce_"} { // of a name in both forms, the latter counts
		for name, value := range headers {
			if attribute, ok := strings.CutPrefix(name, prefix); ok {
				attributes[attribute] = value
			}
		}
	}
	if attributes[specVersionAttribute] == nil {
		return nil
	}
	return renameCloudEventTime(attributes)
}

// renameCloudEventTime names the attribute time at, as the field of an event.
func renameCloudEventTime(attributes map[string]any) map[string]any {
	if at, ok := attributes[timeAttribute]; ok {
		attributes["at"] = at
		delete(attributes, timeAttribute)
	}
	return attributes
}

// cloudEventDataFields returns the fields of data that is an object. Data of any other form has no fields: the attributes may be enough. A broken
// object is an error.
func cloudEventDataFields(data []byte) (map[string]any, error) {
	if data = trimMessageText(data); !bytes.HasPrefix(data, []byte("{")) {
		return nil, nil //nolint:nilnil // no fields are no error
	}
	fields, err := eventFieldsFromJSON(data)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return fields, nil
}

// isStructuredCloudEvent reports whether an object is a CloudEvent in structured mode. Every CloudEvent has a specversion; the content type
// does not count, since no signature covers it: it would let anybody give a signed event another id.
func isStructuredCloudEvent(object map[string]any) bool {
	version, ok := formatScalarField(object[specVersionAttribute])
	return ok && version != ""
}

// splitStructuredCloudEvent returns the attributes and the fields of the data.
func splitStructuredCloudEvent(object map[string]any) (attributes, fields map[string]any, err error) {
	switch data := object[dataAttribute].(type) {
	case map[string]any:
		fields = data
	case string:
		fields, err = cloudEventDataFields([]byte(data))
	}
	if text, ok := object[base64DataAttribute].(string); ok && fields == nil && err == nil {
		fields, err = cloudEventBase64Fields(text)
	}
	delete(object, dataAttribute)
	delete(object, base64DataAttribute)
	return renameCloudEventTime(object), fields, err
}

// cloudEventBase64Fields returns the fields of data in base64, in which a sender puts bytes.
func cloudEventBase64Fields(text string) (map[string]any, error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base64DataAttribute, err)
	}
	return cloudEventDataFields(data)
}
