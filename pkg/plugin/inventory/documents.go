// The YAML and JSON documents of a file.

package inventory

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

// byteOrderMark stands before the first character in the files of some editors.
const byteOrderMark = "\ufeff"

// manifestDocument is a document of a file.
type manifestDocument struct {
	text string
	line int // of the file, at which the text begins
}

// splitManifestDocuments returns the documents of a YAML or JSON file. A document ends at a line "---", which may be followed by a comment
// or by the next document, and at a line "...". Directives, byte order marks and the line ends of other systems are removed.
func splitManifestDocuments(data []byte) []manifestDocument {
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
	var documents []manifestDocument
	var document strings.Builder
	number, first := 0, 1
	begun := false // a line that starts with % is a directive only before the document
	for line := range strings.SplitAfterSeq(text, "\n") {
		number++
		line = strings.TrimPrefix(line, byteOrderMark)
		rest, isMark := strings.CutPrefix(line, "---")
		isMark = isMark && (rest == "" || strings.ContainsAny(rest[:1], " \t\n"))
		switch {
		case isMark || strings.TrimRight(line, " \t\n") == "...":
			documents = append(documents, manifestDocument{document.String(), first})
			document.Reset()
			document.WriteString(strings.TrimLeft(rest, " \t."))
			begun, first = isMark, number
		case !begun && strings.HasPrefix(line, "%"):
			document.WriteString("\n") // keeps the numbers of the lines
		default:
			document.WriteString(line)
			begun = begun || strings.TrimSpace(line) != "" && line[0] != '#'
		}
	}
	documents = append(documents, manifestDocument{document.String(), first})
	return slices.DeleteFunc(documents, func(d manifestDocument) bool { return strings.TrimSpace(d.text) == "" })
}

// decodeUTF16 returns the text of a file that begins with the byte order mark of UTF-16, as Windows PowerShell writes it; any other as it is.
func decodeUTF16(data []byte) []byte {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	default:
		return data
	}
	units := make([]uint16, 0, len(data)/2)
	for at := 0; at+1 < len(data); at += 2 {
		units = append(units, order.Uint16(data[at:]))
	}
	return []byte(string(utf16.Decode(units)))
}

// parseManifestDocument returns the values of a document: one, or several of JSON that follow each other.
func parseManifestDocument(document manifestDocument) ([]any, error) {
	if strings.HasPrefix(strings.TrimSpace(document.text), "{") {
		if values, err := parseJSONValues(document.text); err == nil {
			return values, nil
		}
	}
	var value any
	if err := yaml.Unmarshal([]byte(document.text), &value); err != nil {
		return nil, describeTemplateError(document.text, countFileLine(document, err))
	}
	return []any{value}, nil
}

// yamlLine matches the beginning of the YAML parser's error: the line is the document's.
var yamlLine = regexp.MustCompile(`^error converting YAML to JSON: yaml: line ([0-9]+): `)

// countFileLine returns an error of the YAML parser with the line of the file.
func countFileLine(document manifestDocument, err error) error {
	text := err.Error()
	parts := yamlLine.FindStringSubmatch(text)
	if parts == nil {
		return err
	}
	line, _ := strconv.Atoi(parts[1]) // the pattern has digits alone
	return fmt.Errorf("line %d: %s", document.line+line-1, text[len(parts[0]):])
}

func parseJSONValues(document string) ([]any, error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(document)))
	var values []any
	for {
		var value any
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
}

// describeTemplateError says of a template that it is one.
func describeTemplateError(document string, err error) error {
	if strings.Contains(document, "{{") {
		return fmt.Errorf("%w; it looks like a template: render it first, such as with helm template", err)
	}
	return err
}

// quantityField matches the paths of the fields with a quantity.
var quantityField = regexp.MustCompile(`\.(target\.(averageValue|value)|targetAverageValue|targetValue|scale(Up|Down)\.tolerance|requests\.[^.]+|limits\.[^.]+)$`)

// describeFaultyQuantity names the field of an object that is no quantity, with its value; it returns nothing if it finds none.
func describeFaultyQuantity(value any, path string) string {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			field := strings.TrimPrefix(path+"."+key, ".")
			if text, isText := v[key].(string); isText && quantityField.MatchString(field) {
				if _, err := resource.ParseQuantity(text); err != nil {
					return fmt.Sprintf("%s is %q; write a number such as 50, 500m or 0.05: ", field, text)
				}
			}
			if found := describeFaultyQuantity(v[key], field); found != "" {
				return found
			}
		}
	case []any:
		for n := range v {
			if found := describeFaultyQuantity(v[n], fmt.Sprintf("%s[%d]", path, n)); found != "" {
				return found
			}
		}
	}
	return ""
}
