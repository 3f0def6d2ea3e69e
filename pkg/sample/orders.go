// This file serves /orders, which a store keeps.

package sample

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"
)

const (
	// maxOrderBytes is far above the longest valid order, and small enough for 1,024 concurrent requests.
	maxOrderBytes = 4 << 10
	maxItemRunes  = 100
	maxQuantity   = 1000
)

// errOrderNotFound means that no order with the ID exists.
var errOrderNotFound = errors.New("no such order")

// orderStore keeps orders as encoded documents. It may be used concurrently; both methods return when ctx ends, and
// neither keeps doc or hands out memory that it uses again.
type orderStore interface {
	saveOrder(ctx context.Context, id string, doc []byte) error
	// getOrder returns errOrderNotFound if the order does not exist.
	getOrder(ctx context.Context, id string) ([]byte, error)
}

// order is the document of an order. POST /orders takes item and quantity; GET /orders/{id} returns all fields.
type order struct {
	ID       string    `json:"id"`
	Item     string    `json:"item"`
	Quantity int       `json:"quantity"`
	Created  time.Time `json:"created"`
}

// bufferPool reuses buffers between orders: body and answer share a buffer, so that under load an order costs no
// allocation that grows with its size.
type bufferPool struct{ pool sync.Pool }

func newOrderBufferPool() *bufferPool {
	return &bufferPool{pool: sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 1024)) }}}
}

func (b *bufferPool) getOrderBuffer() *bytes.Buffer {
	buf := b.pool.Get().(*bytes.Buffer)
	buf.Reset()
	return buf
}

func (b *bufferPool) putOrderBuffer(buf *bytes.Buffer) { b.pool.Put(buf) }

func (s *Service) createOrder(w http.ResponseWriter, r *http.Request) {
	if s.orders == nil {
		writeResponseError(w, r, http.StatusServiceUnavailable, "orders are not configured: REDIS_ADDR is not set")
		return
	}
	buf := s.buffers.getOrderBuffer()
	defer s.buffers.putOrderBuffer(buf)
	o, code, err := readOrderBody(buf, http.MaxBytesReader(w, r.Body, maxOrderBytes))
	if err != nil {
		writeResponseError(w, r, code, err.Error())
		return
	}
	o.ID, o.Created = rand.Text(), time.Now().UTC()
	buf.Reset()
	if err := json.NewEncoder(buf).Encode(o); err != nil {
		panic(err) // every checked order can be encoded
	}
	if err := s.orders.saveOrder(r.Context(), o.ID, buf.Bytes()); err != nil {
		s.writeOrderFailure(w, r, fmt.Errorf("put order: %w", err))
		return
	}
	w.Header().Set("Location", "/orders/"+o.ID)
	writeResponseJSON(w, http.StatusCreated, buf.Bytes())
}

func (s *Service) serveOrder(w http.ResponseWriter, r *http.Request) {
	if s.orders == nil {
		writeResponseError(w, r, http.StatusServiceUnavailable, "orders are not configured: REDIS_ADDR is not set")
		return
	}
	id := r.PathValue("id")
	if !isOrderID(id) { // createOrder never issues such an ID: skip the request to Redis
		writeResponseError(w, r, http.StatusNotFound, errOrderNotFound.Error())
		return
	}
	doc, err := s.orders.getOrder(r.Context(), id)
	switch {
	case errors.Is(err, errOrderNotFound):
		writeResponseError(w, r, http.StatusNotFound, errOrderNotFound.Error())
	case err != nil:
		s.writeOrderFailure(w, r, fmt.Errorf("get order: %w", err))
	default:
		writeResponseJSON(w, http.StatusOK, doc)
	}
}

func (s *Service) writeOrderFailure(w http.ResponseWriter, r *http.Request, err error) {
	s.log.Warn("Redis operation failed", traceIDField(r.Context()), zap.NamedError("err", err))
	writeUnfinishedRequest(w, r, err, "orders are unavailable")
}

// readOrderBody reads body into buf and decodes it strictly. It returns an error for the client, with its status code.
func readOrderBody(buf *bytes.Buffer, body io.Reader) (order, int, error) {
	if _, err := buf.ReadFrom(body); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return order{}, http.StatusRequestEntityTooLarge, fmt.Errorf("an order has at most %d bytes", tooLarge.Limit)
		}
		return order{}, http.StatusBadRequest, errors.New("the body could not be read")
	}
	o, err := decodeOrder(buf.Bytes())
	if err != nil {
		return order{}, http.StatusBadRequest, err
	}
	return o, 0, nil
}

// decodeOrder returns the order in doc: a single JSON object with the fields item and quantity only.
func decodeOrder(doc []byte) (order, error) {
	var in struct {
		Item     string `json:"item"`
		Quantity int    `json:"quantity"`
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return order{}, fmt.Errorf("an order is a JSON object with item and quantity: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return order{}, errors.New("an order is one JSON object; remove the text after it")
	}
	if n := utf8.RuneCountInString(in.Item); n < 1 || n > maxItemRunes || !isPrintableOrderItem(in.Item) {
		return order{}, fmt.Errorf("item must be 1 to %d printable characters", maxItemRunes)
	}
	if in.Quantity < 1 || in.Quantity > maxQuantity {
		return order{}, fmt.Errorf("quantity must be from 1 to %d", maxQuantity)
	}
	return order{Item: in.Item, Quantity: in.Quantity}, nil
}

func isPrintableOrderItem(s string) bool {
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}

// isOrderID reports whether id has the form of rand.Text: 26 characters of the base32 alphabet.
func isOrderID(id string) bool {
	if len(id) != 26 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
