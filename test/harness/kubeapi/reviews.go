package kubeapi

import (
	"encoding/json"
	"net/http"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// handleAccessReviews answers TokenReviews and SubjectAccessReviews.
func (s *Server) handleAccessReviews(mux *http.ServeMux) {
	authority := string(s.Proxy.Authority)
	config := core.ConfigMap{
		TypeMeta:   newObjectTypeMeta("v1", "ConfigMap"),
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication"},
		Data: map[string]string{
			"client-ca-file": authority, "requestheader-client-ca-file": authority,
			"requestheader-username-headers": `["X-Remote-User"]`, "requestheader-group-headers": `["X-Remote-Group"]`,
			"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`, "requestheader-allowed-names": `["front-proxy"]`,
		},
	}
	maps := newObjectList("v1", "ConfigMap")
	maps.setListedObject(&config)
	const configMaps = "GET /api/v1/namespaces/kube-system/configmaps"
	mux.Handle(configMaps, maps)
	mux.HandleFunc(configMaps+"/{name}", func(w http.ResponseWriter, _ *http.Request) { writeJSONResponse(w, http.StatusOK, config) })
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authentication.TokenReview
		s.decodeReviewAndCount(r, &review)
		user, known := review.Spec.Token, true
		if s.opts.Authenticate != nil {
			user, known = s.opts.Authenticate(user)
		}
		review.Status = authentication.TokenReviewStatus{Authenticated: known, User: authentication.UserInfo{Username: user}}
		writeJSONResponse(w, http.StatusCreated, review)
	})
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authorization.SubjectAccessReview
		s.decodeReviewAndCount(r, &review)
		review.Status = authorization.SubjectAccessReviewStatus{Allowed: s.opts.Authorize == nil || s.opts.Authorize(review.Spec.User)}
		writeJSONResponse(w, http.StatusCreated, review)
	})
}

// decodeReviewAndCount reads a review, and takes the time of one.
func (s *Server) decodeReviewAndCount(r *http.Request, review any) {
	_ = json.NewDecoder(r.Body).Decode(review)
	if s.opts.ReviewTime > 0 {
		select {
		case <-time.After(s.opts.ReviewTime):
		case <-r.Context().Done():
		}
	}
}
