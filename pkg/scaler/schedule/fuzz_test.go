package schedule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzDecode checks that any file is rejected with lines of text, or yields schedules valid for years to come.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		schedules, err := loadSchedules(data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\x1b\x07") {
				t.Errorf("%q would act on a terminal", err)
			}
			return
		}
		now := time.Date(2027, 3, 27, 12, 0, 0, 0, time.UTC)
		for i := range schedules {
			s := &schedules[i]
			for range 20 {
				if w, ok := s.ActiveAt(now); ok && (w.MinReplicas < 0 || w.MinReplicas > maxReplicaCount || w.MaxReplicas > 0 && w.MaxReplicas < w.MinReplicas || now.Before(w.Since) || !now.Before(w.Until)) {
					t.Fatalf("%s: %+v", now, w)
				}
				next, ok := s.NextChange(now)
				if !ok {
					break
				}
				if !next.After(now) {
					t.Fatalf("next after %s is %s", now, next)
				}
				now = next
			}
		}
	})
}
