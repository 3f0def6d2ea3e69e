package reading

import (
	"context"

	"k8s.io/client-go/rest"
)

// RESTReader reads over a client of kube-apiserver, with the rights of its user.
type RESTReader struct{ Client rest.Interface }

var _ Reader = RESTReader{}

// Read implements Reader.
func (r RESTReader) Read(ctx context.Context, path string) ([]byte, error) {
	result := r.Client.Get().RequestURI(path).Do(ctx)
	if err := result.Error(); err != nil { // with the server's own status, which DoRaw loses
		return nil, err
	}
	return result.Raw()
}
