package apiserver

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	metricsapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

// chained is an API in the chain, of one request at a time and for so long; whoever gives a name is known.
func chained(api http.HandlerFunc, timeout time.Duration) http.Handler {
	config := genericapiserver.NewConfig(metricsapiserver.Codecs)
	config.FeatureGate = utilfeature.DefaultFeatureGate
	config.RequestTimeout, config.MaxRequestsInFlight = timeout, 1
	config.RequestInfoResolver = genericapiserver.NewRequestInfoResolver(config)
	config.Authorization.Authorizer = authorizerfactory.NewAlwaysAllowAuthorizer()
	config.Authentication.Authenticator = authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		name := r.Header.Get("X-Name")
		return &authenticator.Response{User: &user.DefaultInfo{Name: name}}, name != "", nil
	})
	return chain(api, config)
}

func read(h http.Handler, name string) int {
	r := httptest.NewRequest(http.MethodGet, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/a/m", nil)
	r.Header.Set("X-Name", name)
	w := httptest.NewRecorder()
	func() {
		defer func() { _ = recover() }() // as net/http does: a panic ends its request only
		h.ServeHTTP(w, r)
	}()
	return w.Code
}

// What the chain of the library protects from, this one does.
func TestChain(t *testing.T) {
	t.Parallel()
	ok := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	for name, tc := range map[string]struct {
		api  http.HandlerFunc
		user string
		want int
	}{
		"a read":         {ok, "hpa", http.StatusOK},
		"nobody":         {ok, "", http.StatusUnauthorized},
		"a panic":        {func(http.ResponseWriter, *http.Request) { panic("a bug") }, "hpa", http.StatusInternalServerError},
		"one that hangs": {func(http.ResponseWriter, *http.Request) { <-t.Context().Done() }, "hpa", http.StatusGatewayTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := read(chained(tc.api, 100*time.Millisecond), tc.user); got != tc.want {
				t.Errorf("status %d, want %d", got, tc.want)
			}
		})
	}
}

func TestChainBoundsRequests(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	h := chained(func(http.ResponseWriter, *http.Request) { close(entered); <-release }, time.Minute)
	first := make(chan int)
	go func() { first <- read(h, "hpa") }()
	<-entered
	if got := read(h, "hpa"); got != http.StatusTooManyRequests {
		t.Errorf("beyond the bound: status %d", got)
	}
	close(release)
	if got := <-first; got != http.StatusOK {
		t.Errorf("the first: status %d", got)
	}
}
