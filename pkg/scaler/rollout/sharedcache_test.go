// Caches whose objects all readers share, as those of informers: who writes to one changes what others read.

package rollout

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// sharedCache reads a memory cluster, and gives every reader the same objects. It finds each write to one of them, also behind the end of a slice,
// where the next append of another reader goes.
type sharedCache struct {
	*memoryCluster

	objects map[string]*sharedObject
	faults  []string // of objects that the cache no longer has
}

// sharedObject is an object of a cache, with its content when it came.
type sharedObject struct {
	content string
	object  any
}

func newSharedCache(c *memoryCluster) *sharedCache {
	return &sharedCache{memoryCluster: c, objects: map[string]*sharedObject{}}
}

// shareObject returns the object with the key, the same for all readers until the cluster has another.
func shareObject[T any](c *sharedCache, key string, object *T) *T {
	addSpareCapacity(reflect.ValueOf(object).Elem())
	there, content := c.objects[key], formatShared(object)
	if there == nil || there.content != content {
		if there != nil {
			c.faults = append(c.faults, there.describeChange(key)...)
		}
		there = &sharedObject{content: content, object: object}
		c.objects[key] = there
	}
	return there.object.(*T) //nolint:forcetypeassert // as it was stored
}

// describeChange returns how the object differs from what came; empty: it does not.
func (o *sharedObject) describeChange(key string) []string {
	if now := formatShared(o.object); now != o.content {
		return []string{fmt.Sprintf("%s was\n%s\nand is\n%s", key, o.content, now)}
	}
	return nil
}

// listWrites describes the writes to shared objects.
func (c *sharedCache) listWrites() []string {
	all := slices.Clone(c.faults)
	for key, o := range c.objects {
		all = append(all, o.describeChange(key)...)
	}
	return all
}

func (c *sharedCache) ListHolds(ctx context.Context, namespace string) ([]hold.Object, error) {
	all, err := c.memoryCluster.ListHolds(ctx, namespace)
	for i := range all {
		all[i] = *shareObject(c, "hold "+string(all[i].UID), all[i].DeepCopy())
	}
	return all, err
}

func (c *sharedCache) ListAutoscalers(ctx context.Context, namespace string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	all, err := c.memoryCluster.ListAutoscalers(ctx, namespace)
	for i, hpa := range all {
		all[i] = shareObject(c, "autoscaler "+string(hpa.UID), hpa)
	}
	return all, err
}

// addSpareCapacity gives each slice within a value room behind its end, as decoders leave it.
func addSpareCapacity(v reflect.Value) {
	switch v.Kind() { //nolint:exhaustive // all others hold no slices that can be set
	case reflect.Pointer:
		if !v.IsNil() {
			addSpareCapacity(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				addSpareCapacity(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		roomy := reflect.MakeSlice(v.Type(), v.Len(), v.Len()+2)
		reflect.Copy(roomy, v)
		v.Set(roomy)
		for i := range v.Len() {
			addSpareCapacity(v.Index(i))
		}
	}
}

// formatShared writes all memory of an object, also that behind the ends of its slices.
func formatShared(object any) string {
	var text strings.Builder
	writeShared(&text, reflect.ValueOf(object))
	return text.String()
}

func writeShared(text *strings.Builder, v reflect.Value) {
	switch v.Kind() { //nolint:exhaustive // all others are printed as they are
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() || v.Type() == reflect.TypeFor[*time.Location]() {
			return
		}
		writeShared(text, v.Elem())
	case reflect.Struct:
		text.WriteString("{")
		for i := range v.NumField() {
			text.WriteString(v.Type().Field(i).Name + ":")
			writeShared(text, v.Field(i))
			text.WriteString(" ")
		}
		text.WriteString("}")
	case reflect.Slice:
		text.WriteString("[")
		for whole, i := v.Slice(0, v.Cap()), 0; i < whole.Len(); i++ {
			writeShared(text, whole.Index(i))
			text.WriteString(" ")
		}
		fmt.Fprintf(text, "]of %d", v.Len())
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
		for _, k := range keys {
			text.WriteString(k.String() + ":")
			writeShared(text, v.MapIndex(k))
			text.WriteString(" ")
		}
	default:
		fmt.Fprint(text, v)
	}
}

// TestSharedCacheFindsWrites: each kind of write to a shared object is found.
func TestSharedCacheFindsWrites(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(h hold.Object){
		"none":                     func(hold.Object) {},
		"an element":               func(h hold.Object) { h.Status.Told[0] = "else" },
		"behind the end":           func(h hold.Object) { _ = append(h.Status.Told, "else") },
		"deleted in place":         func(h hold.Object) { _ = slices.DeleteFunc(h.Status.Told, func(string) bool { return true }) },
		"behind a pointer":         func(h hold.Object) { h.Status.Numbers.Replicas.Set++ },
		"a map":                    func(h hold.Object) { h.Labels["else"] = "" },
		"in an element of a slice": func(h hold.Object) { h.Status.Outbox[0].Notifiers = nil },
	} {
		b := newBench()
		b.addWorkload("shop", 2, hold.ReplicaBounds{})
		b.apply(t, "shop", saleHold())
		h := b.find("shop", "event/sale")
		h.Status = hold.Status{Told: []string{"Open"}, Numbers: &hold.Numbers{}, Outbox: []hold.OutboxMessage{{Notifiers: []string{"oncall"}}}}
		c := newSharedCache(b.memoryCluster)
		all, err := c.ListHolds(t.Context(), "sale")
		if err != nil {
			t.Fatal(err)
		}
		write(all[0])
		if got, want := len(c.listWrites()), min(len(name)-len("none"), 1); got != want {
			t.Errorf("%s: %d writes found; want %d: %q", name, got, want, c.listWrites())
		}
	}
}
