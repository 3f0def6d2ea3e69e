package action

import (
	"encoding/json"
	"regexp"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// maxExact is above the whole numbers that a float64 has exactly.
const maxExact = "9007199254740993"

// readShop returns the Service shop as JSON.
func readShop(t *testing.T, text func() ([]byte, error)) string {
	t.Helper()
	data, err := text()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestGateKeepsLargeNumbers: a gate sets, recognizes and restores whole numbers of 64 bits to the digit, also in stepped patches and lists.
func TestGateKeepsLargeNumbers(t *testing.T) {
	t.Parallel()
	for name, merge := range map[string]string{
		"stepped": `{"spec":{"quota":` + maxExact + `,"weight":"<<.Percent>>"}}`,
		"in list": `{"spec":{"ports":[{"name":"http","port":` + maxExact + `}]}}`,
		"in both": `{"spec":{"ports":[{"name":"http","port":` + maxExact + `,"weight":"<<.Percent>>"}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, mapper := newFakeCluster()
			setShopPorts(t, client, `[{"name":"http","port":1},{"name":"admin","port":2}]`)
			shop := client.Resource(servicesResource).Namespace("sale")
			read := func() string {
				return readShop(t, func() ([]byte, error) {
					o, err := shop.Get(t.Context(), "shop", metav1.GetOptions{})
					if err != nil {
						return nil, err
					}
					return json.Marshal(o.Object["spec"])
				})
			}
			before := read()
			g := New(client, mapper, Options{Gates: map[string]Gate{"sale": newSteppedGate(merge, 10, 100)}})
			changes, err := g.Record(t.Context(), "sale", "sale")
			if err == nil {
				err = g.Open(t.Context(), "sale", "sale", 10, changes)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := read(); !containsNumber(got, maxExact) {
				t.Errorf("open: %s", got)
			}
			if err := g.Shut(t.Context(), "sale", "sale", changes); err != nil {
				t.Fatal(err)
			}
			if got := read(); got != before {
				t.Errorf("shut: %s; want %s", got, before)
			}
		})
	}
}

// TestGateSeesLargeNumbersOfOthers: a number of another client stays, however close it is to the gate's.
func TestGateSeesLargeNumbersOfOthers(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	g := New(client, mapper, Options{Gates: map[string]Gate{"sale": newSteppedGate(`{"spec":{"quota":` + maxExact + `}}`)}})
	changes, err := g.Record(t.Context(), "sale", "sale")
	if err == nil {
		err = g.Open(t.Context(), "sale", "sale", 100, changes)
	}
	shop := client.Resource(servicesResource).Namespace("sale")
	if err == nil {
		_, err = shop.Patch(t.Context(), "shop", types.MergePatchType, []byte(`{"spec":{"quota":9007199254740992}}`), metav1.PatchOptions{})
	}
	if err == nil {
		err = g.Shut(t.Context(), "sale", "sale", changes)
	}
	if err != nil {
		t.Fatal(err)
	}
	o, err := shop.Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(o.Object["spec"])
	if err != nil || !containsNumber(string(text), "9007199254740992") {
		t.Errorf("%s, %v", text, err)
	}
}

// TestRestoreWithoutParent: a value that the gate removed comes back, though the API server dropped the empty object around it.
func TestRestoreWithoutParent(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	shop := client.Resource(servicesResource).Namespace("sale")
	edit := func(text string) {
		t.Helper()
		if _, err := shop.Patch(t.Context(), "shop", types.MergePatchType, []byte(text), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	edit(`{"metadata":{"annotations":{"lock":"1","way/of":"in"}}}`)
	g := New(client, mapper, Options{Gates: map[string]Gate{"sale": newSteppedGate(`{"metadata":{"annotations":{"lock":null,"way/of":null}}}`)}})
	changes, err := g.Record(t.Context(), "sale", "sale")
	if err == nil {
		err = g.Open(t.Context(), "sale", "sale", 100, changes)
	}
	if err != nil {
		t.Fatal(err)
	}
	edit(`{"metadata":{"annotations":null}}`)
	if err := g.Shut(t.Context(), "sale", "sale", changes); err != nil {
		t.Fatal(err)
	}
	o, err := shop.Get(t.Context(), "shop", metav1.GetOptions{})
	if got := o.GetAnnotations(); err != nil || len(got) != 2 || got["lock"] != "1" || got["way/of"] != "in" {
		t.Errorf("annotations %v, %v", got, err)
	}
}

// containsNumber reports whether JSON has the number, with exactly its digits.
func containsNumber(text, number string) bool {
	return regexp.MustCompile(`[^0-9]` + number + `[^0-9]`).MatchString(text)
}
