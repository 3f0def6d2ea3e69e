package hold

import (
	"encoding/json"
	"testing"
	"time"
)

// FuzzObject decodes Holds of tenants: whatever one says, it can be written again, and a list has the others.
func FuzzObject(f *testing.F) {
	f.Add(`{"metadata":{"name":"a"},"spec":{"workload":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"},"replicas":3,"until":"2026-01-01T00:00:00Z","within":"5m"}}`)
	f.Add(`{"spec":{"until":"9999-12-31T23:00:00-08:00","within":"5x"},"status":{"numbers":{"sequence":1},"gateChanges":[{"set":["a"]}]}}`)
	f.Add(`{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"verify":{"timeout":"1ms"},"group":{"size":2}},"status":[]}`)
	f.Add(`{"spec":null,"status":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		var o Object
		if json.Unmarshal([]byte(text), &o) != nil {
			return
		}
		copied := o.DeepCopy()
		if _, err := json.Marshal(copied); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		_, _, _ = o.IsOver(time.Unix(0, 0)), o.WithinOrDefault(), o.HeldWorkload().IndexKey()
		var list ObjectList
		whole := `{"items":[` + text + `,{"metadata":{"name":"other"},"spec":{"replicas":1}}]}`
		if err := json.Unmarshal([]byte(whole), &list); err != nil || len(list.Items) != 2 || list.Items[1].Name != "other" || list.Items[1].Fault != "" {
			t.Errorf("%s: %v; want a list with the other hold", text, err)
		}
	})
}
