// The Dockerfile builds the adapter with this module in the place of github.com/mwitkow/go-conntrack; conntrack.go has the reason.
module github.com/mwitkow/go-conntrack

go 1.26.4
