package sharedcache

import (
	"fmt"
	"sync"
	"testing"
)

// TestShares: a namespace with ever new keys, or with more keys than there is room for again and again, takes no value from another.
func TestShares(t *testing.T) {
	t.Parallel()
	c := New[string, int](1000)
	const own = 4 // within an equal share of 22 namespaces
	for i := range own {
		c.Add("shop", fmt.Sprint("shop-", i), i, 10)
	}
	for range 2 {
		for i := range 500 {
			c.Add("evil", fmt.Sprint("evil-", i), i, 10)
			c.Add(fmt.Sprint("evil-", i%20), fmt.Sprint("also-", i), i, 7)
		}
	}
	for i := range own {
		if v, found := c.Get(fmt.Sprint("shop-", i)); !found || v != i {
			t.Errorf("shop-%d: %d, %t", i, v, found)
		}
	}
	if n, bytes := c.Usage(); bytes > 1000 || bytes < 900 || n < 90 {
		t.Errorf("%d values of %d bytes, want at most and nearly 1000 bytes", n, bytes)
	}
}

// TestLastUsedStays: of a namespace, the value that was unused for longest is dropped; a value above the bound is not kept.
func TestLastUsedStays(t *testing.T) {
	t.Parallel()
	c := New[string, int](30)
	for i, key := range []string{"a", "b", "c"} {
		c.Add("shop", key, i, 10)
	}
	c.Get("a")
	c.Add("shop", "d", 3, 10)
	c.Add("shop", "e", 4, 31)
	for key, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true, "e": false} {
		if _, found := c.Get(key); found != want {
			t.Errorf("%s: %t, want %t", key, found, want)
		}
	}
	if v, found := c.Get("a"); !found || v != 0 {
		t.Errorf("a: %d, %t", v, found)
	}
	if v := c.Add("bank", "a", 9, 10); v != 0 {
		t.Errorf("a second value replaces the first: %d", v)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	c := New[int, int](1000)
	var users sync.WaitGroup
	for u := range 4 {
		users.Go(func() {
			for i := range 1000 {
				c.Add(fmt.Sprint(u), i%300, i%300, 10)
				if v, found := c.Get(i % 300); found && v != i%300 {
					t.Errorf("%d has %d", i%300, v)
				}
			}
		})
	}
	users.Wait()
}
