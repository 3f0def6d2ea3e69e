package scrape

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
)

// unusual is a response that net/http reads: an error, an older version, a body that ends with the connection,
// headers said twice.
type unusual struct {
	*streamed
	in   *bufio.Reader
	resp *http.Response
}

// mostInterim bounds the responses with a status of 1xx that may come before the response.
const mostInterim = 5

var errLongHead = errors.New("response headers over 64 KiB")

// readUnusual reads the head of a response from its beginning, part of which is in the buffer.
func (r *reply) readUnusual() error {
	came := bytes.NewReader(bytes.Clone(r.buf[:r.hi]))
	head := &io.LimitedReader{R: io.MultiReader(came, r.src), N: mostHead}
	in := bufio.NewReader(head)
	for range mostInterim + 1 {
		resp, err := http.ReadResponse(in, nil) //nolint:bodyclose // closing it would read on; the connection is closed or kept by who owns it
		if err != nil {
			if head.N <= 0 {
				return errLongHead
			}
			return err
		}
		if resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols {
			head.N = math.MaxInt64
			r.answer = answerOf(resp, r.small)
			r.other = &unusual{streamed: r.answer.body.(*streamed), in: in, resp: resp}
			return nil
		}
	}
	return errors.New("too many interim responses")
}

func (u *unusual) reusable() bool {
	return u.ended && !u.resp.Close && u.in.Buffered() == 0 && u.resp.StatusCode != http.StatusSwitchingProtocols
}
