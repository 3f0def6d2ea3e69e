package scrape

// A page read once for the list of its families, for a person: no sample of it is kept.

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape/http1"
)

// ReadFamilies reads the whole page of a target once, as a scrape does: by the same client, with the same bounds of a page, and without
// a redirect to another host. It changes nothing of the target's scrapes. The error has a few words for people. It is safe for concurrent
// use; the caller bounds the number of calls.
func (m *Manager) ReadFamilies(ctx context.Context, target metric.Object, url string, limits exposition.FamilyPageLimits) (page exposition.FamilyPage, err error) {
	m.mu.Lock()
	opts := m.opts
	m.mu.Unlock()
	if limits.Timeout <= 0 || limits.Timeout > opts.Timeout {
		limits.Timeout = opts.Timeout
	}
	if limits.PageBytes <= 0 || limits.PageBytes > opts.MaxPageBytes {
		limits.PageBytes = opts.MaxPageBytes
	}
	defer func() {
		if fault := recover(); fault != nil {
			_ = m.panics.Report(ctx, fault, "namespace", target.Namespace, "pod", target.Name)
			page, err = exposition.FamilyPage{}, errScrapePanic
		}
	}()
	page, err = m.fetcher.fetchFamilyPage(ctx, url, limits)
	if err != nil {
		err = errors.New(classifyFetchError(err, limits.Timeout).text)
	}
	return page, err
}

// fetchFamilyPage gets a page over a connection of its own, and follows redirects on the same host.
func (f *pageFetcher) fetchFamilyPage(ctx context.Context, url string, limits exposition.FamilyPageLimits) (exposition.FamilyPage, error) {
	e := newScrapedEndpoint(url, exposition.NewFamilies(nil))
	if e.urlErr != nil {
		return exposition.FamilyPage{}, e.urlErr
	}
	l := &scrapeLoop{endpoint: e}
	defer l.conn.Close()
	l.inflight.SetDeadline(time.Now().Add(limits.Timeout))
	stop := context.AfterFunc(ctx, l.inflight.Interrupt)
	defer stop()
	page, err := f.requestFamilyPage(ctx, l, limits)
	for range maxRedirects {
		if !e.followTargetRedirect(err) {
			break
		}
		page, err = f.requestFamilyPage(ctx, l, limits)
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return page, err
}

// requestFamilyPage makes one request and lists the families of the page.
func (f *pageFetcher) requestFamilyPage(ctx context.Context, l *scrapeLoop, limits exposition.FamilyPageLimits) (exposition.FamilyPage, error) {
	q := l.endpoint.getWholePageRequest()
	if q.raw != nil {
		resp, err := f.client.Get(ctx, &l.conn, &l.inflight, l.endpoint.dialAddress, q.raw, time.Now())
		if err != nil {
			return exposition.FamilyPage{}, err
		}
		defer resp.Close()
		return listPageFamilies(resp, limits)
	}
	ctx, release := l.inflight.DeriveContext(ctx)
	defer release()
	got, err := f.transport.RoundTrip(q.netHTTP.WithContext(ctx)) //nolint:bodyclose // resp.Close closes the body
	if err != nil {
		return exposition.FamilyPage{}, err
	}
	buffer := f.readBuffers.Get().(*[]byte)
	defer f.readBuffers.Put(buffer)
	resp := http1.NewResponse(got, *buffer)
	defer resp.Close()
	return listPageFamilies(resp, limits)
}

func listPageFamilies(resp *http1.Response, limits exposition.FamilyPageLimits) (page exposition.FamilyPage, err error) {
	if resp.Status != http.StatusOK {
		wantsTLS := drainPageBody(resp) && resp.Status == http.StatusBadRequest
		return page, newTargetStatusError(resp.Status, resp.Location, wantsTLS)
	}
	format, err := exposition.DetectFormat(resp.ContentType, resp.ContentEncoding)
	if err != nil {
		return page, err
	}
	if err := (exposition.PageOptions{MaxBytes: limits.PageBytes}).CheckSize(resp.Length); err != nil {
		return page, err
	}
	lister := exposition.NewPageFamilyLister(format, limits.PageBytes, limits.ListBytes)
	if page.Bytes, err = copyPageBody(lister, resp); err != nil {
		return page, err
	}
	page.Families, page.Truncated, err = lister.List()
	return page, err
}

var _ io.Writer = (*exposition.PageFamilyLister)(nil)
