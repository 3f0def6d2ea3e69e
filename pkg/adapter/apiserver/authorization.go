// Authorizers over kube-apiserver's SubjectAccessReviews, apart for HPAs, others and large identities.

package apiserver

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/path"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// delegatedAuthorizers ask kube-apiserver, each with a client and a cache of its own. None grants anything by path: laneAuthorizer does.
type delegatedAuthorizers struct {
	autoscaling, others authorizer.Authorizer
	// wide is for others with wide identities.
	wide authorizer.Authorizer
	// details decides about readers of the reasons on the health endpoints, which are open to all.
	details authorizer.Authorizer
}

func (o *Options) buildAuthorizers() (built delegatedAuthorizers, err error) {
	usual := *o.Authorization
	usual.AlwaysAllowPaths = nil
	slow := usual
	slow.CustomRoundTripperFn = newSlowReviewWrapper(usual.CustomRoundTripperFn)
	for _, b := range []struct {
		options authorizerBuilder
		to      *authorizer.Authorizer
	}{
		{&usual, &built.autoscaling},
		{&usual, &built.others},
		{&slow, &built.details},
	} {
		if *b.to, err = buildAuthorizer(b.options); err != nil {
			return built, err
		}
	}
	wide := &wideAuthorizer{build: func() (authorizer.Authorizer, error) { return buildAuthorizer(&slow) }}
	built.others = newDetachedAuthorizer(built.others, decisionPlaces, o.limits.decision)
	built.wide = newDetachedAuthorizer(authorizer.AuthorizerFunc(wide.authorizeWideIdentity), widePlaces, o.limits.decision)
	built.details = newDetachedAuthorizer(built.details, detailPlaces, o.limits.decision)
	return built, nil
}

// authorizerBuilder are the library's options of an authorizer.
type authorizerBuilder interface {
	ApplyTo(info *genericapiserver.AuthorizationInfo) error
}

// buildAuthorizer returns an authorizer with a client and a cache of its own.
func buildAuthorizer(options authorizerBuilder) (authorizer.Authorizer, error) {
	var info genericapiserver.AuthorizationInfo
	err := options.ApplyTo(&info)
	return info.Authorizer, err
}

// newOpenPathMatcher returns a matcher of the paths that need no authorization, with the library's rules for them.
func newOpenPathMatcher(paths []string) (pathMatcher, error) {
	always, err := path.NewAuthorizer(paths)
	if err != nil {
		return nil, fmt.Errorf("read --authorization-always-allow-paths: %w", err)
	}
	return func(p string) bool {
		decision, _, err := always.Authorize(context.Background(), authorizer.AttributesRecord{Path: p})
		return err == nil && decision == authorizer.DecisionAllow
	}, nil
}

// attributesWithoutSelectors are the attributes of a request for all objects.
type attributesWithoutSelectors struct{ authorizer.Attributes }

// GetFieldSelector implements authorizer.Attributes.
func (attributesWithoutSelectors) GetFieldSelector() (fields.Requirements, error) { return nil, nil }

// GetLabelSelector implements authorizer.Attributes.
func (attributesWithoutSelectors) GetLabelSelector() (labels.Requirements, error) { return nil, nil }

const (
	// maxAuthorizedSelectorBytes is the size above which a selector takes no part in a decision.
	maxAuthorizedSelectorBytes = 256
	// requirementBytes is the size of a requirement in the key of a decision, beside its texts, and valueBytes that of a value.
	requirementBytes, valueBytes = 48, 3
)

// dropLongSelectors returns the attributes without selectors if they are long. The library remembers a decision by all attributes,
// and does not count the selectors: readers could fill the memory with them. The decision is then that for all objects, which
// allows no more.
func dropLongSelectors(a authorizer.Attributes) authorizer.Attributes {
	size := 0
	if byField, err := a.GetFieldSelector(); err == nil {
		for _, r := range byField {
			size += requirementBytes + valueBytes + len(r.Field) + len(r.Value)
		}
	}
	if byLabel, err := a.GetLabelSelector(); err == nil {
		for i := range byLabel {
			size += requirementBytes + len(byLabel[i].Key())
			for _, v := range byLabel[i].ValuesUnsorted() {
				size += valueBytes + len(v)
			}
		}
	}
	if size > maxAuthorizedSelectorBytes {
		return attributesWithoutSelectors{a}
	}
	return a
}
