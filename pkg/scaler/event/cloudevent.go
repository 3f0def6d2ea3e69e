package event

import (
	"strings"
)

// This file reads CloudEvents 1.0. In binary mode the attributes are headers, named ce_NAME in Kafka and ce-NAME in HTTP, and the message is
// the data. In structured mode the message is an object with the attributes and the data.

const (
	specVersionAttribute = "specversion"
	timeAttribute        = "time"
	dataAttribute        = "data"
)

// cloudEventHeaderAttributes returns the attributes of a CloudEvent in binary mode, or nil for any other message.
func cloudEventHeaderAttributes(headers map[string]string) map[string]any {
	attributes := map[string]any{}
	for name, value := range headers {
		for _, prefix := range []string{"ce_", "ce-"} {
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

// cloudEventDataFields returns the fields of data that is an object. Data of any other form has no fields: the attributes may be enough.
func cloudEventDataFields(data []byte) map[string]any {
	fields, err := eventFieldsFromJSON(data)
	if err != nil {
		return nil
	}
	return fields
}

// isStructuredCloudEvent reports whether an object is a CloudEvent in structured mode. Every CloudEvent has a specversion; the content type
// does not count, since no signature covers it: it would let anybody give a signed event another id.
func isStructuredCloudEvent(object map[string]any) bool {
	version, ok := object[specVersionAttribute].(string)
	return ok && version != ""
}

// splitStructuredCloudEvent returns the attributes and the fields of the data.
func splitStructuredCloudEvent(object map[string]any) (attributes, fields map[string]any) {
	fields, _ = object[dataAttribute].(map[string]any)
	if text, ok := object[dataAttribute].(string); ok {
		fields = cloudEventDataFields([]byte(text))
	}
	delete(object, dataAttribute)
	return renameCloudEventTime(object), fields
}
