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
	namespace = "tachometer"
	name      = "scaler-events"
)

// started is a set that runs, and its end.
func started(t *testing.T, c *fake.Clientset, opts Options) (s *Set, stop func()) {
	t.Helper()
	s = New(c.CoreV1().ConfigMaps(namespace), name, opts)
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

func has(t *testing.T, s *Set, id string) bool {
	t.Helper()
	known, err := s.Has(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return known
}

func lines(t *testing.T, c *fake.Clientset) int {
	t.Helper()
	m, err := c.CoreV1().ConfigMaps(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	return strings.Count(m.Data[dataKey], "\n")
}

// pass lets the bubble's clock go on.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestIdsOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		s, stop := started(t, c, Options{})
		if has(t, s, "a") {
			t.Error("an id of nobody's")
		}
		s.Add("a", time.Now().Add(time.Hour))
		if !has(t, s, "a") {
			t.Error("not known at once")
		}
		pass(2 * DefaultEvery)
		s.Add("b", time.Now().Add(time.Minute)) // just before the end: the last write takes it
		stop()
		again, _ := started(t, c, Options{})
		if !has(t, again, "a") || !has(t, again, "b") || has(t, again, "c") {
			t.Errorf("after a restart: a %t, b %t, c %t", has(t, again, "a"), has(t, again, "b"), has(t, again, "c"))
		}
		pass(2 * time.Minute)
		if has(t, again, "b") {
			t.Error("known after its time")
		}
	})
}

func TestWritesAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		s, _ := started(t, c, Options{})
		for i := range 10_000 {
			s.Add(fmt.Sprint(i), time.Now().Add(time.Hour))
		}
		pass(2 * DefaultEvery)
		if got := testutil.ToFloat64(s.m.writes); got != 1 {
			t.Errorf("%v writes; want one", got)
		}
		if got := lines(t, c); got != 10_000 {
			t.Errorf("%d ids written; want all", got)
		}
	})
}

func TestFullSetForgetsWhatExpiresFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		s, _ := started(t, c, Options{})
		s.Add("over soon", time.Now().Add(time.Minute))
		for i := range 2 * DefaultMost {
			s.Add(strings.Repeat("x", 250)+fmt.Sprint(i), time.Now().Add(time.Hour))
		}
		pass(2 * DefaultEvery)
		m, err := c.CoreV1().ConfigMaps(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(m.Data[dataKey]); got > 1<<20*8/10 {
			t.Errorf("%d bytes; an object has a megabyte at most", got)
		}
		if got := lines(t, c); got != DefaultMost {
			t.Errorf("%d ids; want %d", got, DefaultMost)
		}
		if has(t, s, "over soon") {
			t.Error("what expires first was kept")
		}
		if got := testutil.ToFloat64(s.m.forgotten); got != DefaultMost+1 {
			t.Errorf("%v counted as forgotten; want %d", got, DefaultMost+1)
		}
	})
}

// Two scalers write, one of them believing to lead still: what each knows stays.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		one, _ := started(t, c, Options{})
		one.Add("mine", time.Now().Add(time.Hour))
		pass(2 * DefaultEvery)
		conflicting := true
		c.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			if !conflicting {
				return false, nil, nil
			}
			conflicting = false
			other := ids{}
			current, _ := c.Tracker().Get(configMaps, namespace, name)
			m := current.(*corev1.ConfigMap).DeepCopy()
			other.read(m.Data[dataKey])
			other[hash("theirs")] = time.Now().Add(time.Hour)
			m.Data[dataKey] = other.text()
			if err := c.Tracker().Update(configMaps, m, namespace); err != nil {
				t.Error(err)
			}
			return true, nil, apierrors.NewConflict(configMaps.GroupResource(), name, errors.New("the object has been modified"))
		})
		one.Add("mine too", time.Now().Add(time.Hour))
		pass(2 * DefaultEvery)
		if conflicting {
			t.Fatal("there was no conflict")
		}
		again, _ := started(t, c, Options{})
		for _, id := range []string{"mine", "mine too", "theirs"} {
			if !has(t, again, id) || !has(t, one, id) {
				t.Errorf("%s is not known to both", id)
			}
		}
	})
}

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// Between the read and the creation somebody else creates it.
func TestCreatedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		first := true
		c.PrependReactor("create", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			if first {
				first = false
				m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{dataKey: ids{hash("theirs"): time.Now().Add(time.Hour)}.text()}}
				if err := c.Tracker().Create(configMaps, m, namespace); err != nil {
					t.Error(err)
				}
			}
			return false, nil, nil
		})
		s, _ := started(t, c, Options{})
		s.Add("mine", time.Now().Add(time.Hour))
		pass(2 * DefaultEvery)
		if got := lines(t, c); got != 2 || !has(t, s, "theirs") {
			t.Errorf("%d ids written; want both", got)
		}
	})
}

// While the API server is away at the start, nobody is told that an id is new.
func TestServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		back := time.Now().Add(30 * time.Second)
		c.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			return time.Now().Before(back), nil, errors.New("connection refused")
		})
		s, stop := started(t, c, Options{})
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Has(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v; want to wait until it is known", err)
		}
		if has(t, s, "a") || time.Now().Before(back) {
			t.Error("answered before the ConfigMap was read")
		}
		back = time.Now().Add(30 * time.Second)
		s.Add("a", time.Now().Add(time.Hour))
		pass(time.Minute)
		if got := lines(t, c); got != 1 {
			t.Errorf("%d ids written after the server was back; want 1", got)
		}
		stop()
		if got := testutil.ToFloat64(s.m.failures); got < 2 {
			t.Errorf("%v failures counted", got)
		}
	})
}

func TestLastWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		s := New(c.CoreV1().ConfigMaps(namespace), name, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		c.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("refused") })
		s.Add("a", time.Now().Add(time.Hour))
		cancel()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v; want an error that names the ConfigMap", err)
		}
	})
}

func FuzzIds(f *testing.F) {
	f.Add(ids{hash("a"): time.Unix(1_800_000_000, 0), hash("b"): time.Unix(1_900_000_000, 0)}.text())
	f.Add("")
	f.Add("no id\n\n AAAA 5\n")
	f.Fuzz(func(t *testing.T, text string) {
		first := ids{}
		first.read(text)
		second := ids{}
		if bad := second.read(first.text()); bad != 0 || len(second) != len(first) {
			t.Errorf("%d ids and %d bad lines after a second reading of %d ids", len(second), bad, len(first))
		}
		for k, until := range first {
			if !second[k].Equal(until) {
				t.Errorf("%s became %s", until, second[k])
			}
		}
	})
}
