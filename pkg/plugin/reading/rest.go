package reading

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// RESTReader reads over kube-apiserver, with the rights of its user.
type RESTReader struct{ client rest.Interface }

var _ Reader = RESTReader{}

// NewRESTReader returns a reader that asks for JSON, even if cfg prefers another format. It does not change cfg.
func NewRESTReader(cfg *rest.Config) (RESTReader, error) {
	plain := rest.CopyConfig(cfg)
	plain.ContentType, plain.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON+",*/*" // pods' own pages are text
	plain.WarningHandler = rest.NoWarnings{}                                                              // the answers say the same
	plain.GroupVersion = &schema.GroupVersion{}
	plain.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	plain.Wrap(func(next http.RoundTripper) http.RoundTripper { return dateRecorder{next} })
	client, err := rest.UnversionedRESTClientFor(plain)
	if err != nil {
		return RESTReader{}, fmt.Errorf("make client: %w", err)
	}
	return RESTReader{client}, nil
}

// Read implements Reader.
func (r RESTReader) Read(ctx context.Context, path string) ([]byte, error) {
	result := r.client.Get().RequestURI(path).Do(ctx)
	if err := result.Error(); err != nil { // with the server's own status, which DoRaw loses
		if !errors.As(err, new(apierrors.APIStatus)) {
			err = unansweredError{err}
		}
		return nil, err
	}
	return result.Raw()
}

// unansweredError is the error of a read without any answer of kube-apiserver.
type unansweredError struct{ error }

func (e unansweredError) Unwrap() error { return e.error }

// IsOwnFailure reports whether an error concerns the user's read alone: a missing right, a limit of the user's requests, or no answer. The HPA
// controller's own read may succeed.
func IsOwnFailure(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsTooManyRequests(err) || errors.As(err, new(unansweredError))
}

// Create creates a JSON object at a path, and returns the answer.
func (r RESTReader) Create(ctx context.Context, path string, object []byte) ([]byte, error) {
	result := r.client.Post().RequestURI(path).SetHeader("Content-Type", runtime.ContentTypeJSON).Body(object).Do(ctx)
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}
