// This file records the status code of an answer.

package sample

import "net/http"

// statusRecorder remembers the status code of an answer.
type statusRecorder struct {
	http.ResponseWriter
	code int
}

func (r *statusRecorder) WriteHeader(code int) {
	if r.code == 0 && code >= 200 { // 1xx are only announcements
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *statusRecorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// recordedStatusCode returns the status code of the answer; a handler without a write answers 200.
func (r *statusRecorder) recordedStatusCode() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}
