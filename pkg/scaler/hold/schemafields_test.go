package hold

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// schemaNode is a part of the schema in the manifests.
type schemaNode struct {
	Properties           map[string]schemaNode `json:"properties"`
	Items                *schemaNode           `json:"items"`
	AdditionalProperties *schemaNode           `json:"additionalProperties"`
}

// listMissingFields lists the JSON fields of a type that a schema does not have: an API server would reject each write of them.
func (n schemaNode) listMissingFields(path string, t reflect.Type) (missing []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice && n.Items != nil:
		return n.Items.listMissingFields(path+"[]", t.Elem())
	case t.Kind() == reflect.Map && n.AdditionalProperties != nil:
		return n.AdditionalProperties.listMissingFields(path+"{}", t.Elem())
	case t.Kind() != reflect.Struct || len(n.Properties) == 0 && hasOwnJSONForm(t):
		return nil
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		if child, found := n.Properties[name]; found {
			missing = append(missing, child.listMissingFields(path+"."+name, t.Field(i).Type)...)
		} else {
			missing = append(missing, path+"."+name)
		}
	}
	return missing
}

// hasOwnJSONForm reports whether a type writes itself as one value, as times and durations do.
func hasOwnJSONForm(t reflect.Type) bool {
	_, isMarshaler := reflect.New(t).Interface().(interface{ MarshalJSON() ([]byte, error) })
	return isMarshaler
}

// TestSchema: the shipped definition has every field of the Go types: the API server rejects each write of another.
func TestSchema(t *testing.T) {
	t.Parallel()
	schema := readHoldSchema[schemaNode](t).Properties
	for name, of := range map[string]reflect.Type{"spec": reflect.TypeFor[Spec](), "status": reflect.TypeFor[Status]()} {
		if missing := schema[name].listMissingFields(name, of); len(schema[name].Properties) == 0 || len(missing) > 0 {
			t.Errorf("the schema of %s lacks %v", name, missing)
		}
	}
	type newer struct {
		Replicas  int32 `json:"replicas"`
		Deadline  time.Time
		Condition struct {
			Verdict string `json:"verdict"`
		} `json:"workload"`
	}
	if missing := schema["spec"].listMissingFields("spec", reflect.TypeFor[newer]()); len(missing) != 1 || missing[0] != "spec.workload.verdict" {
		t.Errorf("of a newer version: %v", missing)
	}
}
