// The pages of workloads, read for lists of their families.

package explain

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/sharedcache"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

const (
	// maxExposedLists bounds the lists of families at a time, and maxNamespaceExposedLists those of a namespace.
	maxExposedLists          = memorybounds.FamilyLists
	maxNamespaceExposedLists = 1
	// A namespace may have exposedBurst lists at once for which pages are read, and then another each exposedPause.
	exposedBurst = 5
	exposedPause = 2 * time.Second
	// maxExposedWorkloads bounds the pages that a list reads, and exposedReaders those at a time.
	maxExposedWorkloads = 20
	exposedReaders      = memorybounds.ListedPages
	// exposedTimeout bounds the time of a list, and exposedPageTimeout that of a page.
	exposedTimeout     = 2 * time.Second
	exposedPageTimeout = time.Second
	// maxExposedPageBytes bounds a page, and maxExposedBytes all pages of a list.
	maxExposedPageBytes = 16 << 20
	maxExposedBytes     = 32 << 20
	// exposedAge is how long a page answers further lists.
	exposedAge = 10 * time.Second
	// exposedEntryBytes is the memory of a remembered page without its families.
	exposedEntryBytes = 512
)

// exposedPages reads the pages of workloads for lists of their families, and remembers them for a while. It is safe for concurrent use.
type exposedPages struct {
	*requestPlaces
	read *sharedcache.Cache[exposedKey, *exposedPage]
}

// exposedKey names a workload's page in a stretch of exposedAge: the page of an earlier one is not found.
type exposedKey struct {
	namespace, workload string
	stretch             int64
}

// exposedPage is a page, or the reason why it could not be read. It does not change.
type exposedPage struct {
	pod      string
	families []exposition.ListedFamily
	cut      bool // has more families
	err      error
}

func newExposedPages() *exposedPages {
	return &exposedPages{
		newRequestPlaces(placeLimits{noun: "lists of metrics", all: maxExposedLists, namespace: maxNamespaceExposedLists, burst: exposedBurst, pause: exposedPause}),
		sharedcache.New[exposedKey, *exposedPage](memorybounds.RememberedFamilies),
	}
}

// exposedWorkload are the pods of a workload, of which one page is read.
type exposedWorkload struct {
	name    string
	page    discovery.MetricsPage
	targets int
	failing bool                  // its last scrape failed
	took    time.Duration         // its last scrape
	read    explainapi.MetricPage // the page without its families
}

// listExposedWorkloads returns the workloads of a namespace with a pod each, one that does not fail and is ready if there is. Those with slow and failing pages come
// last: they do not take the time of the others.
func (a *API) listExposedWorkloads(namespace string, selector labels.Selector) []exposedWorkload {
	index := map[string]int{}
	var workloads []exposedWorkload
	for _, page := range a.deps.Discovery.MetricsPages(namespace, selector) {
		name := page.Workload()
		i, known := index[name]
		if !known {
			i = len(workloads)
			index[name] = i
			workloads = append(workloads, exposedWorkload{name: name})
		}
		w := &workloads[i]
		failing := a.deps.Scrapes.Diagnose(namespace, page.Name, nil).Reason == metric.ReasonScrapeFailed
		if w.targets++; !known || w.failing && !failing || w.failing == failing && page.Ready && !w.page.Ready {
			w.page, w.failing = page, failing
		}
	}
	for i := range workloads {
		workloads[i].took = a.deps.Scrapes.ScrapeDuration(namespace, workloads[i].page.Name)
	}
	slices.SortStableFunc(workloads, func(a, b exposedWorkload) int {
		return cmp.Or(compareExposedFailures(a.failing, b.failing), cmp.Compare(a.took, b.took), cmp.Compare(a.name, b.name))
	})
	return workloads
}

func compareExposedFailures(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// readExposedWorkloads sets the pages of workloads and returns the families that they have together. The error is a status with code 429.
func (a *API) readExposedWorkloads(ctx context.Context, namespace string, workloads []exposedWorkload) (*exposedFamilies, error) {
	now := a.deps.Now()
	families := newExposedFamilies()
	var unread []*exposedWorkload
	for i := range workloads {
		w := &workloads[i]
		if page, ok := a.exposed.read.Get(newExposedKey(namespace, w.name, now)); ok {
			w.addExposedPage(page, families)
		} else {
			unread = append(unread, w)
		}
	}
	if len(unread) == 0 {
		return families, nil
	}
	if err := a.exposed.takeRequestTurn(namespace, now); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, exposedTimeout)
	defer cancel()
	budget := &exposedBudget{left: maxExposedBytes}
	queue := make(chan *exposedWorkload, len(unread))
	for _, w := range unread {
		queue <- w
	}
	close(queue)
	var readers panics.Group
	for range min(exposedReaders, len(unread)) {
		readers.Go(func() {
			for w := range queue {
				page := a.readExposedPageSafely(ctx, w, budget)
				w.addExposedPage(page, families)
				if ctx.Err() == nil {
					a.exposed.rememberExposedPage(newExposedKey(namespace, w.name, now), page)
				}
			}
		})
	}
	readers.Wait()
	return families, nil
}

func newExposedKey(namespace, workload string, now time.Time) exposedKey {
	return exposedKey{namespace, workload, now.UnixNano() / int64(exposedAge)}
}

func (e *exposedPages) rememberExposedPage(key exposedKey, page *exposedPage) {
	bytes := exposedEntryBytes
	for _, f := range page.families {
		bytes += f.Bytes()
	}
	e.read.Add(key.namespace, key, page, bytes)
}

// readExposedPageSafely is readExposedPage. A panic is the failure of this page alone.
func (a *API) readExposedPageSafely(ctx context.Context, w *exposedWorkload, budget *exposedBudget) *exposedPage {
	var page *exposedPage
	read := func() (err error) {
		defer a.panics.Catch(ctx, &err, func() []any { return []any{"namespace", w.page.Namespace, "pod", w.page.Name} })
		page = a.readExposedPage(ctx, w, budget)
		return nil
	}
	if err := read(); err != nil {
		return &exposedPage{pod: w.page.Name, err: err}
	}
	return page
}

// readExposedPage reads the page of a workload within what is left of the list's time and bytes.
func (a *API) readExposedPage(ctx context.Context, w *exposedWorkload, budget *exposedBudget) *exposedPage {
	page := &exposedPage{pod: w.page.Name}
	bytes := budget.takeExposedBytes()
	switch {
	case ctx.Err() != nil:
		page.err = metric.Errorf(metric.KindUnavailable, "not read: other pages took the %s of a list", exposedTimeout)
	case bytes == 0:
		page.err = metric.Errorf(metric.KindUnavailable, "not read: other pages took the %d MiB of a list", maxExposedBytes>>20)
	}
	if page.err != nil {
		return page
	}
	limits := exposition.FamilyPageLimits{Timeout: exposedPageTimeout, PageBytes: bytes, ListBytes: memorybounds.ListedPage}
	listed, err := a.deps.Scrapes.ReadFamilies(ctx, w.page.Object(), w.page.URL, limits)
	budget.returnExposedBytes(bytes - listed.Bytes)
	page.families, page.cut, page.err = listed.Families, listed.Truncated, err
	return page
}

// exposedBudget are the bytes of pages that a list may still read.
type exposedBudget struct {
	mu   sync.Mutex // guards left
	left int64
}

// takeExposedBytes takes the bytes of a page.
func (b *exposedBudget) takeExposedBytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	bytes := max(0, min(b.left, maxExposedPageBytes))
	b.left -= bytes
	return bytes
}

// returnExposedBytes gives bytes back that a page did not need.
func (b *exposedBudget) returnExposedBytes(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += bytes
}

// addExposedPage adds a page to the families of a list, and keeps what an answer says about it.
func (w *exposedWorkload) addExposedPage(page *exposedPage, families *exposedFamilies) {
	w.read = explainapi.MetricPage{Workload: plaintext.Clean(w.name), Pod: page.pod, Targets: w.targets, Families: len(page.families), Truncated: page.cut}
	if page.err != nil {
		w.read.Error = page.err.Error()
	}
	families.addExposedFamilies(page.families, w.targets)
}
