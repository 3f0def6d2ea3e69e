// Package cluster runs a real Kubernetes on this machine.
package cluster
