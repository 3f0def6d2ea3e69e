package http1

// Responses of an unusual kind, which net/http reads.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
)

// fallbackResponse is a response that net/http reads: an error, an older version, a body that ends with the connection, a
// repeated header.
type fallbackResponse struct {
	*netHTTPBody
	reader *bufio.Reader
	resp   *http.Response
}

// maxInterimResponses bounds the responses with a status of 1xx that may come before the response.
const maxInterimResponses = 5

// readHeaderByNetHTTP reads the header of a response from its beginning, which is in the buffer.
func (r *connResponseReader) readHeaderByNetHTTP() error {
	if err := detectOtherProtocol(r.buf[:r.hi]); err != nil {
		return err
	}
	begun := bytes.NewReader(bytes.Clone(r.buf[:r.hi]))
	limit := r.client.MaxHeaderBytes
	if limit <= 0 {
		limit = math.MaxInt64
	}
	header := &io.LimitedReader{R: io.MultiReader(begun, r.src), N: limit}
	in := bufio.NewReader(header)
	for range maxInterimResponses + 1 {
		resp, err := http.ReadResponse(in, nil) //nolint:bodyclose // closing it would read on; release keeps or closes the connection
		if err != nil {
			if header.N <= 0 {
				return fmt.Errorf("response headers over %d KiB", limit>>10)
			}
			return err
		}
		if resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols {
			header.N = math.MaxInt64
			r.response = newNetHTTPResponse(resp, r.smallBuf)
			r.response.reader = r
			r.fallback = &fallbackResponse{netHTTPBody: r.response.body.(*netHTTPBody), reader: in, resp: resp}
			return nil
		}
	}
	return errors.New("too many interim responses")
}

func (f *fallbackResponse) isFallbackConnReusable() bool {
	return f.ended && !f.resp.Close && f.reader.Buffered() == 0 && f.resp.StatusCode != http.StatusSwitchingProtocols
}
