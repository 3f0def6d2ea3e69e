// Package sharedcache has a cache of the names in requests, with a share of its bytes for each namespace.
package sharedcache

import (
	"container/list"
	"sync"
)

// Cache holds values within a bound in bytes. When it is full, the namespace with the most loses the value that was unused for longest: a
// tenant with ever new keys makes nobody else's values be computed again. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	limit int

	mu     sync.Mutex // guards the rest
	values map[K]*list.Element
	shares map[string]*share
	bytes  int
}

// share has the values of the namespace that asked for them first.
type share struct {
	namespace string
	order     list.List // of *entry, the last used in front
	bytes     int
}

type entry[K comparable, V any] struct {
	key   K
	value V
	bytes int
	share *share
}

// New returns an empty cache with a bound in bytes.
func New[K comparable, V any](limit int) *Cache[K, V] {
	return &Cache[K, V]{limit: limit, values: map[K]*list.Element{}, shares: map[string]*share{}}
}

// Get returns a value, and whether there is one.
func (c *Cache[K, V]) Get(key K) (value V, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.values[key]
	if at == nil {
		return value, false
	}
	e := at.Value.(*entry[K, V])
	e.share.order.MoveToFront(at)
	return e.value, true
}

// Add adds a value of so many bytes for a namespace, and returns the value to use: another goroutine's if it was faster.
func (c *Cache[K, V]) Add(namespace string, key K, value V, bytes int) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := c.values[key]; first != nil {
		return first.Value.(*entry[K, V]).value
	}
	if bytes > c.limit {
		return value
	}
	s := c.shares[namespace]
	if s == nil {
		s = &share{namespace: namespace}
		c.shares[namespace] = s
	}
	c.values[key] = s.order.PushFront(&entry[K, V]{key, value, bytes, s})
	s.bytes += bytes
	for c.bytes += bytes; c.bytes > c.limit; {
		c.dropGreediest()
	}
	return value
}

// dropGreediest drops the value that the namespace with the most has not used for longest. The caller holds mu.
func (c *Cache[K, V]) dropGreediest() {
	var most *share
	for _, s := range c.shares {
		if most == nil || s.bytes > most.bytes {
			most = s
		}
	}
	e := most.order.Remove(most.order.Back()).(*entry[K, V])
	delete(c.values, e.key)
	most.bytes -= e.bytes
	c.bytes -= e.bytes
	if most.order.Len() == 0 {
		delete(c.shares, most.namespace)
	}
}

// Usage returns the number of values and their bytes.
func (c *Cache[K, V]) Usage() (values, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.values), c.bytes
}
