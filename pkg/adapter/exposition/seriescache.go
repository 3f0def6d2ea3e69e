package exposition

// The series of a target, remembered from page to page.

import (
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// forgetAfterPages is the number of pages after which the cache forgets a missing series. A series that returns later costs a
// new parsing of its labels, no more.
const forgetAfterPages = 16

// seriesOverheadBytes is the memory that the parser needs for a series besides its labels: the PageSeries itself, its two map entries,
// and its sample.
const seriesOverheadBytes = 320

// pageSeriesCache holds the series of a target by a hash of their bytes on the page: the bytes themselves would take as much memory as the
// labels once more. Pages of a program write a series the same way every time. Several ways to write a series all lead to the same
// Series. The hash has 64 bits and a seed of its own: among 10,000 series, one new series in 10^15 would hit another.
type pageSeriesCache struct {
	ownLabels labels.Labels

	seed        maphash.Seed
	byBytes     map[uint64]*PageSeries
	byHash      map[uint64]*PageSeries // chained by nextSameHash
	seriesCount int                    // series in byHash
	maxSeries   int                    // limit of the series on a page; 0: no limit
	pageNumber  uint64                 // number of the page being read

	maxLabelBytes int               // limit of the labels of a series; 0: no limit
	reserve       func(int64) error // of PageOptions.Reserve; nil: nobody counts
	reservedBytes int64             // taken from reserve so far
}

func newPageSeriesCache(own labels.Labels) pageSeriesCache {
	return pageSeriesCache{
		ownLabels: own,
		seed:      maphash.MakeSeed(),
		byBytes:   map[uint64]*PageSeries{},
		byHash:    map[uint64]*PageSeries{},
	}
}

func (c *pageSeriesCache) startPageOfSeries(page PageOptions) {
	c.pageNumber++
	c.maxSeries, c.maxLabelBytes = page.MaxSamples, page.MaxLabelBytes
	c.reserve = page.Reserve
}

// findSeriesByBytes returns the series written as b, or nil.
func (c *pageSeriesCache) findSeriesByBytes(b []byte) *PageSeries {
	return c.byBytes[c.hashPageSeries(b)]
}

// hashPageSeries returns the hash of a series written as b.
func (c *pageSeriesCache) hashPageSeries(b []byte) uint64 { return maphash.Bytes(c.seed, b) }

// markSeriesOnPage marks the series as present on the page. It returns false if the series was marked before.
func (c *pageSeriesCache) markSeriesOnPage(s *PageSeries) bool {
	if s.lastPage == c.pageNumber {
		return false
	}
	s.lastPage = c.pageNumber
	return true
}

// isSeriesOnPage reports whether the page being read has the series.
func (c *pageSeriesCache) isSeriesOnPage(s *PageSeries) bool { return s.lastPage == c.pageNumber }

// addPageSeries adds the series of a decoded line, or a new way to write a known series.
func (c *pageSeriesCache) addPageSeries(d decodedSample) (*PageSeries, error) {
	l, err := c.mergeTargetLabels(d.copySortedLabels())
	if err != nil {
		return nil, err
	}
	if size := l.ByteSize(); c.maxLabelBytes > 0 && size > uint64(c.maxLabelBytes) {
		return nil, newPageError(KindLabelsTooLong, "labels of %s longer than %s", formatPageSeries(l), formatPageSize(int64(c.maxLabelBytes)))
	}
	c.makePageSeriesRoom()
	hash := l.Hash()
	s := c.byHash[hash]
	for s != nil && !labels.Equal(s.Labels, l) {
		s = s.nextSameHash
	}
	if s == nil {
		if err := c.reserveSeriesMemory(l); err != nil {
			return nil, err
		}
		s = &PageSeries{Labels: l, nextSameHash: c.byHash[hash], isQuantile: l.Has(model.QuantileLabel), isBucket: isBucketSeries(l)}
		c.byHash[hash] = s
		c.seriesCount++
	}
	s.pageHash = c.hashPageSeries(d.series)
	c.byBytes[s.pageHash] = s
	return s, nil
}

// reserveSeriesMemory takes the memory of a series from the budget. Its error is a reason to reject the family.
func (c *pageSeriesCache) reserveSeriesMemory(l labels.Labels) error {
	if c.reserve == nil {
		return nil
	}
	bytes := seriesOverheadBytes + int64(l.ByteSize())
	if err := c.reserve(bytes); err != nil {
		return newPageError(KindNoRoom, "%s", err.Error())
	}
	c.reservedBytes += bytes
	return nil
}

// releaseSeriesMemory gives the memory of a forgotten series back to the budget.
func (c *pageSeriesCache) releaseSeriesMemory(s *PageSeries) {
	if bytes := seriesOverheadBytes + int64(s.Labels.ByteSize()); c.reserve != nil && c.reservedBytes >= bytes {
		c.reservedBytes -= bytes
		_ = c.reserve(-bytes) // giving back does not fail
	}
}

// makePageSeriesRoom keeps both maps within a few times the limit for any page, even with other series each time, or with the same series
// written differently each time.
func (c *pageSeriesCache) makePageSeriesRoom() {
	if c.maxSeries <= 0 {
		return
	}
	if c.seriesCount >= 3*c.maxSeries {
		c.forgetSeriesUnseenFor(0)
	}
	if len(c.byBytes) >= 4*c.maxSeries {
		clear(c.byBytes)
	}
}

// mergeTargetLabels adds the target's own labels. As in Prometheus, they replace labels of the page, which are kept as
// exported_NAME, with as many exported_ as necessary.
func (c *pageSeriesCache) mergeTargetLabels(l labels.Labels) (labels.Labels, error) {
	if name, twice := l.HasDuplicateLabelNames(); twice {
		return l, fmt.Errorf("label %s twice in %s", shortenPageDetail(name), formatPageSeries(l))
	}
	if !l.IsValid(model.UTF8Validation) {
		return l, errors.New("invalid label name in " + formatPageSeries(l))
	}
	b := labels.NewBuilder(l)
	c.ownLabels.Range(func(own labels.Label) {
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

// forgetSeriesOffPages forgets, every forgetAfterPages pages, the series missing for as many.
func (c *pageSeriesCache) forgetSeriesOffPages() {
	if c.pageNumber%forgetAfterPages == 0 {
		c.forgetSeriesUnseenFor(forgetAfterPages)
	}
}

// forgetSeriesUnseenFor drops the series missing on the current page and on this many pages before it. It keeps alive series, which
// still need their staleness marker.
func (c *pageSeriesCache) forgetSeriesUnseenFor(pages uint64) {
	c.forgetCachedSeries(func(s *PageSeries) bool { return !s.alive && s.lastPage+pages < c.pageNumber })
}

// forgetCachedSeries drops series.
func (c *pageSeriesCache) forgetCachedSeries(old func(*PageSeries) bool) {
	dropped := false
	for hash, s := range c.byHash {
		var keep *PageSeries
		for s != nil {
			next := s.nextSameHash
			if old(s) {
				c.seriesCount--
				c.releaseSeriesMemory(s)
				dropped = true
			} else {
				s.nextSameHash, keep = keep, s
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
