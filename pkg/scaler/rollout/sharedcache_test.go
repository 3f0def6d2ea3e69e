// Caches whose objects all readers share, as those of informers: who writes to one changes what others read.

package rollout

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
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
	// trustsVersions is set where only writes change holds: another resource version tells each change.
	trustsVersions bool
}

// sharedObject is an object of a cache, with a hash of its memory when it came.
type sharedObject struct {
	hash   uint64
	object any
}

func newSharedCache(c *memoryCluster) *sharedCache {
	return &sharedCache{memoryCluster: c, objects: map[string]*sharedObject{}}
}

// shareObject returns the object with the key, the same for all readers until the cluster has another.
func shareObject[T any](c *sharedCache, key string, object *T) *T {
	addSpareCapacity(reflect.ValueOf(object).Elem())
	there, hash := c.objects[key], hashShared(object)
	if there == nil || there.hash != hash {
		if there != nil {
			c.faults = append(c.faults, there.describeChange(key)...)
		}
		there = &sharedObject{hash: hash, object: object}
		c.objects[key] = there
	}
	return there.object.(*T) //nolint:forcetypeassert // as it was stored
}

// describeChange returns the object, if it is not as it came; empty: it is.
func (o *sharedObject) describeChange(key string) []string {
	if hashShared(o.object) != o.hash {
		return []string{fmt.Sprintf("%s is by now %+v", key, o.object)}
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

func (c *sharedCache) ListHolds(ctx context.Context, namespace string) (all []hold.Object, err error) {
	if !c.trustsVersions {
		all, err = c.memoryCluster.ListHolds(ctx, namespace)
		for i := range all {
			all[i] = *c.shareHold(&all[i])
		}
		return all, err
	}
	if c.away {
		return nil, errDead
	}
	for _, name := range slices.Sorted(maps.Keys(c.holds)) {
		all = append(all, *c.shareHold(c.holds[name]))
	}
	return all, nil
}

// shareHold returns the shared copy of a hold.
func (c *sharedCache) shareHold(h *hold.Object) *hold.Object {
	key := "hold " + string(h.UID)
	if there := c.objects[key]; c.trustsVersions && there != nil {
		if shared := there.object.(*hold.Object); shared.ResourceVersion == h.ResourceVersion { //nolint:forcetypeassert // as it was stored
			return shared
		}
	}
	return shareObject(c, key, h.DeepCopy())
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

// hashShared returns a hash (FNV-1a) of all memory of an object, also that behind the ends of its slices.
func hashShared(object any) uint64 {
	h := sharedHash(14695981039346656037)
	h.addValue(reflect.ValueOf(object))
	return uint64(h)
}

type sharedHash uint64

func (h *sharedHash) addNumber(n uint64) {
	for range 8 {
		*h = (*h ^ sharedHash(n&0xff)) * 1099511628211
		n >>= 8
	}
}

func (h *sharedHash) addText(text string) {
	for i := range len(text) {
		*h = (*h ^ sharedHash(text[i])) * 1099511628211
	}
	h.addNumber(uint64(len(text)))
}

func (h *sharedHash) addValue(v reflect.Value) {
	switch v.Kind() { //nolint:exhaustive // the cache has no others, or panics
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() || v.Type() == reflect.TypeFor[*time.Location]() {
			h.addNumber(0)
			return
		}
		h.addNumber(1)
		h.addValue(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			h.addValue(v.Field(i))
		}
	case reflect.Slice:
		h.addNumber(uint64(v.Len()))
		for whole, i := v.Slice(0, v.Cap()), 0; i < whole.Len(); i++ {
			h.addValue(whole.Index(i))
		}
	case reflect.Map:
		h.addMap(v)
	case reflect.String:
		h.addText(v.String())
	case reflect.Bool:
		if v.Bool() {
			h.addNumber(2)
		}
		h.addNumber(3)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		h.addNumber(v.Uint())
	case reflect.Float64:
		h.addNumber(math.Float64bits(v.Float()))
	default:
		h.addNumber(uint64(v.Int()))
	}
}

func (h *sharedHash) addMap(v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	for _, k := range keys {
		h.addText(k.String())
		h.addValue(v.MapIndex(k))
	}
	h.addNumber(uint64(len(keys)))
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
