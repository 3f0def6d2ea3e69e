package scrape

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
)

// fallbackResponse is a response that net/http reads: an error, an older version, a body that ends with the connection,
// headers said twice.
type fallbackResponse struct {
	*netHTTPBody
	reader *bufio.Reader
	resp   *http.Response
}

// maxInterimResponses bounds the responses with a status of 1xx that may come before the response.
const maxInterimResponses = 5

var errHeaderTooLong = errors.New("response headers over 64 KiB")

// readFallback reads the head of a response from its beginning, part of which is in the buffer.
func (r *responseReader) readFallback() error {
	came := bytes.NewReader(bytes.Clone(r.buf[:r.hi]))
	head := &io.LimitedReader{R: io.MultiReader(came, r.src), N: maxHeaderBytes}
	in := bufio.NewReader(head)
	for range maxInterimResponses + 1 {
		resp, err := http.ReadResponse(in, nil) //nolint:bodyclose // closing it would read on; the connection is closed or kept by who owns it
		if err != nil {
			if head.N <= 0 {
				return errHeaderTooLong
			}
			return err
		}
		if resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols {
			head.N = math.MaxInt64
			r.response = newResponse(resp, r.smallBuf)
			r.fallback = &fallbackResponse{netHTTPBody: r.response.body.(*netHTTPBody), reader: in, resp: resp}
			return nil
		}
	}
	return errors.New("too many interim responses")
}

func (u *fallbackResponse) isConnReusable() bool {
	return u.ended && !u.resp.Close && u.reader.Buffered() == 0 && u.resp.StatusCode != http.StatusSwitchingProtocols
}
