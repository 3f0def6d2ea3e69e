package dedup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

const (
	testNamespace = "tachometer"
	testConfigMap = "scaler-events"
)

// startSet returns a running set and a function that ends it.
func startSet(t *testing.T, c *fake.Clientset, opts Options) (s *DeliveryStore, stop func()) {
	t.Helper()
	s = New(c.CoreV1().ConfigMaps(testNamespace), testConfigMap, opts)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	synctest.Wait()
	done := false
	stop = func() {
		if cancel(); !done {
			done = true
			if err := <-ended; err != nil {
				t.Errorf("run: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func hasID(t *testing.T, s *DeliveryStore, id string) bool {
	t.Helper()
	known, err := s.Has(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return known
}

func countStoredIDs(t *testing.T, c *fake.Clientset) int {
	t.Helper()
	m, err := c.CoreV1().ConfigMaps(testNamespace).Get(t.Context(), testConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	return strings.Count(m.Data[dataKey], "\n")
}

// advanceClock advances the bubble's clock.
func advanceClock(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestIdsOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		s, stop := startSet(t, c, Options{})
		if hasID(t, s, "a") {
			t.Error("an id of nobody's")
		}
		s.Add("a", time.Now().Add(time.Hour))
		if !hasID(t, s, "a") {
			t.Error("not known at once")
		}
		advanceClock(2 * writeInterval)
		s.Add("b", time.Now().Add(time.Minute)) // just before the end: the last write takes it
		stop()
		again, _ := startSet(t, c, Options{})
		if !hasID(t, again, "a") || !hasID(t, again, "b") || hasID(t, again, "c") {
			t.Errorf("after a restart: a %t, b %t, c %t", hasID(t, again, "a"), hasID(t, again, "b"), hasID(t, again, "c"))
		}
		advanceClock(2 * time.Minute)
		if hasID(t, again, "b") {
			t.Error("known after its time")
		}
	})
}

func TestWritesAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		s, _ := startSet(t, c, Options{})
		for i := range 10_000 {
			s.Add(fmt.Sprint(i), time.Now().Add(time.Hour))
		}
		advanceClock(2 * writeInterval)
		if got := testutil.ToFloat64(s.metrics.writes); got != 1 {
			t.Errorf("%v writes; want one", got)
		}
		if got := countStoredIDs(t, c); got != 10_000 {
			t.Errorf("%d ids written; want all", got)
		}
	})
}

func TestFullSetForgetsWhatExpiresFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		s, _ := startSet(t, c, Options{})
		s.Add("over soon", time.Now().Add(time.Minute))
		for i := range 2 * maxStoredIDs {
			s.Add(strings.Repeat("x", 250)+fmt.Sprint(i), time.Now().Add(time.Hour))
		}
		advanceClock(2 * writeInterval)
		m, err := c.CoreV1().ConfigMaps(testNamespace).Get(t.Context(), testConfigMap, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(m.Data[dataKey]); got > 1<<20*8/10 {
			t.Errorf("%d bytes; an object has a megabyte at most", got)
		}
		if got := countStoredIDs(t, c); got != maxStoredIDs {
			t.Errorf("%d ids; want %d", got, maxStoredIDs)
		}
		if hasID(t, s, "over soon") {
			t.Error("what expires first was kept")
		}
		if got := testutil.ToFloat64(s.metrics.forgotten); got != maxStoredIDs+1 {
			t.Errorf("%v counted as forgotten; want %d", got, maxStoredIDs+1)
		}
	})
}

// Two scalers write, and an old leader does not know that it lost: the ids of both stay.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		one, _ := startSet(t, c, Options{})
		one.Add("mine", time.Now().Add(time.Hour))
		advanceClock(2 * writeInterval)
		conflicting := true
		c.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			if !conflicting {
				return false, nil, nil
			}
			conflicting = false
			other := idExpiries{}
			current, _ := c.Tracker().Get(configMapsResource, testNamespace, testConfigMap)
			m := current.(*corev1.ConfigMap).DeepCopy()
			other.mergeExpiryLines(m.Data[dataKey])
			other[hashEventID("theirs")] = time.Now().Add(time.Hour)
			m.Data[dataKey] = other.encodeExpiryLines()
			if err := c.Tracker().Update(configMapsResource, m, testNamespace); err != nil {
				t.Error(err)
			}
			return true, nil, apierrors.NewConflict(configMapsResource.GroupResource(), testConfigMap, errors.New("the object has been modified"))
		})
		one.Add("mine too", time.Now().Add(time.Hour))
		advanceClock(2 * writeInterval)
		if conflicting {
			t.Fatal("there was no conflict")
		}
		again, _ := startSet(t, c, Options{})
		for _, id := range []string{"mine", "mine too", "theirs"} {
			if !hasID(t, again, id) || !hasID(t, one, id) {
				t.Errorf("%s is not known to both", id)
			}
		}
	})
}

var configMapsResource = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// Another writer creates the ConfigMap between the read and the creation.
func TestCreatedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		first := true
		c.PrependReactor("create", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			if first {
				first = false
				m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: testConfigMap}, Data: map[string]string{dataKey: idExpiries{hashEventID("theirs"): time.Now().Add(time.Hour)}.encodeExpiryLines()}}
				if err := c.Tracker().Create(configMapsResource, m, testNamespace); err != nil {
					t.Error(err)
				}
			}
			return false, nil, nil
		})
		s, _ := startSet(t, c, Options{})
		s.Add("mine", time.Now().Add(time.Hour))
		advanceClock(2 * writeInterval)
		if got := countStoredIDs(t, c); got != 2 || !hasID(t, s, "theirs") {
			t.Errorf("%d ids written; want both", got)
		}
	})
}

// During an outage of the API server at the start, Has reports no id as new.
func TestServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		back := time.Now().Add(30 * time.Second)
		c.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			return time.Now().Before(back), nil, errors.New("connection refused")
		})
		s, stop := startSet(t, c, Options{})
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Has(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v; want to wait until it is known", err)
		}
		if hasID(t, s, "a") || time.Now().Before(back) {
			t.Error("answered before the ConfigMap was read")
		}
		back = time.Now().Add(30 * time.Second)
		s.Add("a", time.Now().Add(time.Hour))
		advanceClock(time.Minute)
		if got := countStoredIDs(t, c); got != 1 {
			t.Errorf("%d ids written after the server was back; want 1", got)
		}
		stop()
		if got := testutil.ToFloat64(s.metrics.failures); got < 2 {
			t.Errorf("%v failures counted", got)
		}
	})
}

func TestLastWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		s := New(c.CoreV1().ConfigMaps(testNamespace), testConfigMap, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		c.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("refused") })
		s.Add("a", time.Now().Add(time.Hour))
		cancel()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), testConfigMap) {
			t.Errorf("%v; want an error that names the ConfigMap", err)
		}
	})
}

func FuzzIds(f *testing.F) {
	f.Add(idExpiries{hashEventID("a"): time.Unix(1_800_000_000, 0), hashEventID("b"): time.Unix(1_900_000_000, 0)}.encodeExpiryLines())
	f.Add("")
	f.Add("no id\n\n AAAA 5\n")
	f.Fuzz(func(t *testing.T, text string) {
		first := idExpiries{}
		first.mergeExpiryLines(text)
		second := idExpiries{}
		if bad := second.mergeExpiryLines(first.encodeExpiryLines()); bad != 0 || len(second) != len(first) {
			t.Errorf("%d ids and %d bad lines after a second reading of %d ids", len(second), bad, len(first))
		}
		for k, until := range first {
			if !second[k].Equal(until) {
				t.Errorf("%s became %s", until, second[k])
			}
		}
	})
}

// TestD21TimesOutliveARestart: the times of starts and ends are beside the ids, and the later time of two writers wins.
func TestD21TimesOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		one, stop := startSet(t, c, Options{})
		two, _ := startSet(t, c, Options{})
		at := time.Now().Add(-time.Hour).Add(123 * time.Nanosecond)
		one.NoteAt("sale", at.Add(time.Second), time.Now().Add(time.Hour))
		one.NoteAt("sale", at, time.Now().Add(time.Hour)) // older
		one.NoteAt("short", at, time.Now().Add(time.Minute))
		advanceClock(2 * writeInterval)
		two.NoteAt("sale", at, time.Now().Add(time.Hour))
		two.NoteAt("other", at, time.Now().Add(time.Hour))
		advanceClock(2 * writeInterval)
		stop()
		again, _ := startSet(t, c, Options{})
		for key, want := range map[string]time.Time{"sale": at.Add(time.Second), "short": at, "other": at, "none": {}} {
			if got := again.LatestAt(key); !got.Equal(want) {
				t.Errorf("%s: %s; want %s", key, got, want)
			}
		}
		advanceClock(2 * time.Minute)
		again.NoteAt("other", at.Add(time.Minute), time.Now().Add(time.Hour))
		advanceClock(2 * writeInterval)
		if last, _ := startSet(t, c, Options{}); !last.LatestAt("short").IsZero() || last.LatestAt("other").IsZero() {
			t.Errorf("short %s, other %s; want the expired time forgotten", last.LatestAt("short"), last.LatestAt("other"))
		}
	})
}

// TestTimesAreBounded: of too many times, those that expire first are forgotten.
func TestTimesAreBounded(t *testing.T) {
	t.Parallel()
	s := New(fake.NewClientset().CoreV1().ConfigMaps(testNamespace), testConfigMap, Options{})
	now := time.Now()
	for i := range 3 * maxTimes {
		s.NoteAt(fmt.Sprint(i), now, now.Add(time.Hour).Add(time.Duration(i)*time.Second))
	}
	if n := len(s.times); n > maxTimes+maxTimes/10 || s.LatestAt(fmt.Sprint(3*maxTimes-1)).IsZero() || !s.LatestAt("0").IsZero() {
		t.Errorf("%d times", n)
	}
	if bytes := len(s.times.encodeEventTimes()); bytes > 300_000 {
		t.Errorf("%d bytes: with the ids, too much for an object", bytes)
	}
}

func FuzzTimes(f *testing.F) {
	f.Add(eventTimes{hashEventID("a"): {time.Unix(0, 1_800_000_000_000_000_001), time.Unix(1_900_000_000, 0)}}.encodeEventTimes())
	f.Add("")
	f.Add("AAAA 5\n\n5")
	f.Fuzz(func(t *testing.T, text string) {
		first, second := eventTimes{}, eventTimes{}
		first.mergeEventTimes(text)
		if bad := second.mergeEventTimes(first.encodeEventTimes()); bad != 0 || len(second) != len(first) {
			t.Errorf("%d times and %d bad lines after a second reading of %d", len(second), bad, len(first))
		}
	})
}
