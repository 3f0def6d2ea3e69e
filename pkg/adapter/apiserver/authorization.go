package apiserver

import (
	"context"
	"fmt"

	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/path"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// delegatedAuthorizers ask kube-apiserver, each with a client and a cache of its own.
type delegatedAuthorizers struct {
	autoscaling, others authorizer.Authorizer
	// details grants nothing by path: it decides who reads the reasons on the health endpoints, which are open to all.
	details authorizer.Authorizer
}

func (o *Options) buildAPIServerAuthorizers() (built delegatedAuthorizers, err error) {
	withoutPaths := *o.Authorization
	withoutPaths.AlwaysAllowPaths = nil
	for _, b := range []struct {
		options interface {
			ApplyTo(*genericapiserver.AuthorizationInfo) error
		}
		to *authorizer.Authorizer
	}{
		{o.Authorization, &built.autoscaling},
		{o.Authorization, &built.others},
		{&withoutPaths, &built.details},
	} {
		var info genericapiserver.AuthorizationInfo
		if err := b.options.ApplyTo(&info); err != nil {
			return built, err
		}
		*b.to = info.Authorizer
	}
	return built, nil
}

// newAPIServerPathMatcher returns a matcher of the paths that need no authorization, with the library's rules for them.
func newAPIServerPathMatcher(paths []string) (pathMatcher, error) {
	always, err := path.NewAuthorizer(paths)
	if err != nil {
		return nil, fmt.Errorf("read --authorization-always-allow-paths: %w", err)
	}
	return func(p string) bool {
		decision, _, err := always.Authorize(context.Background(), authorizer.AttributesRecord{Path: p})
		return err == nil && decision == authorizer.DecisionAllow
	}, nil
}
