package exposition

import (
	"errors"
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// forgetAfter is how many pages a series may be missing before it is forgotten. A series that comes and goes
// keeps its place that long; it costs only its labels' parsing if it comes later.
const forgetAfter = 16

// cache holds the series of a target by the bytes that a page writes them with. Pages of one program write a
// series the same way every time. Were they to write it in several ways, all lead to the same Series.
type cache struct {
	own labels.Labels

	byBytes map[string]*Series
	byHash  map[uint64]*Series // chained by next
	count   int                // series in byHash
	limit   int                // series of one page; 0: none
	page    uint64             // number of the page being read
}

func newCache(own labels.Labels) cache {
	return cache{
		own:     own,
		byBytes: map[string]*Series{},
		byHash:  map[uint64]*Series{},
	}
}

func (c *cache) begin(limit int) {
	c.page++
	c.limit = limit
}

// find returns the series written as b, or nil.
func (c *cache) find(b []byte) *Series { return c.byBytes[string(b)] }

// mark notes that the page has the series; false: it was noted before.
func (c *cache) mark(s *Series) bool {
	if s.seen == c.page {
		return false
	}
	s.seen = c.page
	return true
}

// seen reports whether the page being read has the series.
func (c *cache) seen(s *Series) bool { return s.seen == c.page }

// learn adds the series of a decoded line, or another way of writing a series that is known.
func (c *cache) learn(d decoded) (*Series, error) {
	l, err := c.merge(d.labels())
	if err != nil {
		return nil, err
	}
	c.makeRoom()
	hash := l.Hash()
	s := c.byHash[hash]
	for s != nil && !labels.Equal(s.Labels, l) {
		s = s.next
	}
	if s == nil {
		s = &Series{Labels: l, next: c.byHash[hash]}
		c.byHash[hash] = s
		c.count++
	}
	c.byBytes[string(d.series)] = s
	return s, nil
}

// makeRoom keeps both maps within a few times the limit, whatever a page does: one that writes its series
// differently each time, or has other series each time.
func (c *cache) makeRoom() {
	if c.limit <= 0 {
		return
	}
	if c.count >= 3*c.limit {
		c.forget(0)
	}
	if len(c.byBytes) >= 4*c.limit {
		clear(c.byBytes)
	}
}

// merge adds the target's own labels. As in Prometheus, they win over the page's, which are kept under
// exported_NAME, with as many exported_ as it takes.
func (c *cache) merge(l labels.Labels) (labels.Labels, error) {
	if name, twice := l.HasDuplicateLabelNames(); twice {
		return l, fmt.Errorf("label %s twice in %s", shorten(name), show(l))
	}
	if !l.IsValid(model.UTF8Validation) {
		return l, errors.New("invalid label name in " + show(l))
	}
	b := labels.NewBuilder(l)
	c.own.Range(func(own labels.Label) {
		if theirs := l.Get(own.Name); theirs != "" {
			exported := "exported_" + own.Name
			for b.Get(exported) != "" {
				exported = "exported_" + exported
			}
			b.Set(exported, theirs)
		}
		b.Set(own.Name, own.Value)
	})
	return b.Labels(), nil
}

// sweep forgets, every so often, the series that have not been seen for long.
func (c *cache) sweep() {
	if c.page%forgetAfter == 0 {
		c.forget(forgetAfter)
	}
}

// forget drops the series that were not on the last pages, that many and the one being read, and are not
// alive: those still wait for their staleness marker.
func (c *cache) forget(pages uint64) {
	old := func(s *Series) bool { return !s.alive && s.seen+pages < c.page }
	dropped := false
	for hash, s := range c.byHash {
		var keep *Series
		for s != nil {
			next := s.next
			if old(s) {
				c.count--
				dropped = true
			} else {
				s.next, keep = keep, s
			}
			s = next
		}
		if keep == nil {
			delete(c.byHash, hash)
		} else {
			c.byHash[hash] = keep
		}
	}
	if !dropped {
		return
	}
	for b, s := range c.byBytes {
		if old(s) {
			delete(c.byBytes, b)
		}
	}
}
