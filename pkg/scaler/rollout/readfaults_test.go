package rollout

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// failForLong has the API server answer the reads of the shop's scale with failures until the end, each with a text of its own.
func (b *bench) failForLong(t *testing.T, d time.Duration, failure func(i int) error) {
	t.Helper()
	for i := range int(d/(10*time.Second)) + 1 {
		b.failScale = map[string]error{"shop": failure(i)}
		if err := b.pass(t.Context()); err == nil {
			t.Fatal("a pass without an error")
		}
		b.now = b.now.Add(10 * time.Second)
	}
}

// TestLastingReadFault: a workload that the API server cannot read for a minute, such as for a conversion webhook that is away, is trouble of its holds: a
// condition, one message, and both end when it can be read again. A shorter failure is none.
func TestLastingReadFault(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]func(i int) error{
		"500": func(i int) error {
			return apierrors.NewInternalError(fmt.Errorf("request %d: conversion webhook is away", i))
		},
		"503": func(i int) error { return apierrors.NewServiceUnavailable(fmt.Sprint("request ", i)) },
		"429": func(i int) error { return apierrors.NewTooManyRequests(fmt.Sprint("request ", i), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, w := newOpenSale(t)
			writes := 0
			b.onStatus = func(before, after *hold.Object) { writes++ }
			b.failForLong(t, lastingFaultAfter-10*time.Second, failure)
			if c := findHoldCondition(b.find("shop", "event/sale"), conditionReachable); c != nil && c.Status == metav1.ConditionFalse || writes > 0 {
				t.Fatalf("condition %+v and %d writes before a minute", c, writes)
			}
			b.failForLong(t, hold.DefaultWithin+time.Minute, failure)
			c := findHoldCondition(b.find("shop", "event/sale"), conditionReachable)
			if c == nil || c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "request 0") {
				t.Fatalf("condition %+v", c)
			}
			b.wantTold(t, "event/sale", "Up", "Stuck")
			if writes > 4 {
				t.Errorf("%d writes of the status, want one for the condition and some for the message", writes)
			}
			b.failScale = nil
			b.mustPass(t)
			if c := findHoldCondition(b.find("shop", "event/sale"), conditionReachable); c.Status != metav1.ConditionTrue || w.replicas != 20 {
				t.Errorf("condition %+v, %d replicas", c, w.replicas)
			}
			b.wantTold(t, "event/sale", "Up", "Stuck", "Up")
			if n := len(b.engine.faults.failed); n > 0 {
				t.Errorf("%d faults are remembered", n)
			}
		})
	}
}

// TestLastingReadFaultShutsGates: the gate of a hold that ends is shut, also while the workload cannot be read.
func TestLastingReadFaultShutsGates(t *testing.T) {
	t.Parallel()
	b, w := newOpenSale(t)
	b.release(t, "shop", "event/sale")
	b.failForLong(t, lastingFaultAfter, func(int) error { return apierrors.NewInternalError(errors.New("away")) })
	if b.gates.open["sale"] {
		t.Error("the gate is open a minute after the end")
	}
	b.wantTold(t, "event/sale", "Up", "Stuck")
	b.failScale = nil
	b.mustPass(t)
	if len(b.holds) > 0 || w.replicas != 2 {
		t.Errorf("%d holds, %d replicas", len(b.holds), w.replicas)
	}
}

// TestLastingPodFault: a hold whose pods cannot be read fails in its time, and says so.
func TestLastingPodFault(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.apply(t, "shop", saleHold())
	b.hidePods = apierrors.NewInternalError(errors.New("etcd is slow"))
	for range int((hold.DefaultWithin + 2*time.Minute) / (10 * time.Second)) {
		if err := b.pass(t.Context()); err != nil && !apierrors.IsInternalError(err) {
			t.Fatal(err)
		}
		b.now = b.now.Add(10 * time.Second)
	}
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "etcd is slow")
	if w.replicas != 2 {
		t.Errorf("%d replicas", w.replicas)
	}
}
