package dashboard

// This file reads the scaler's holds. The plugin knows them as the API shows them, without the scaler's code.

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// holdList has the holds, or the cause for which they could not be read.
type holdList struct {
	Installed bool       `json:"installed"` // the cluster has the resource
	Items     []holdView `json:"items"`
	Error     string     `json:"error,omitempty"`
	Command   string     `json:"command"`
}

// holdView is a hold of the scaler.
type holdView struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Workload  string    `json:"workload"`
	Replicas  int32     `json:"replicas"`
	State     string    `json:"state"`
	Since     time.Time `json:"since,omitzero"`
	Until     time.Time `json:"until,omitzero"` // zero: until it is deleted
	By        string    `json:"by,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Message   string    `json:"message,omitempty"`
	Paused    bool      `json:"paused,omitempty"`
}

// readHold is the part of a hold that the page shows.
type readHold struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Workload struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"workload"`
		Replicas int32       `json:"replicas"`
		Until    metav1.Time `json:"until"`
		By       string      `json:"by"`
		Reason   string      `json:"reason"`
		Paused   bool        `json:"paused"`
	} `json:"spec"`
	Status struct {
		State   string           `json:"state"`
		Message string           `json:"message"`
		Entered metav1.MicroTime `json:"entered"`
	} `json:"status"`
}

// readHoldList reads the holds. A cluster without the scaler has no such resource.
func (s *PageServer) readHoldList(ctx context.Context, reader reading.Reader) holdList {
	list := holdList{Items: []holdView{}, Command: s.newCommandWriter("").writeHoldsCommand()}
	path := "/apis/" + domain.ScalerGroup + "/v1alpha1/holds"
	if s.opts.Namespace != "" {
		path = "/apis/" + domain.ScalerGroup + "/v1alpha1/namespaces/" + s.opts.Namespace + "/holds"
	}
	data, err := reader.Read(ctx, path)
	if apierrors.IsNotFound(err) {
		return list
	}
	list.Installed = true
	var answer struct {
		Items []readHold `json:"items"`
	}
	if err == nil {
		err = json.Unmarshal(data, &answer)
	}
	if err != nil {
		list.Error = "read holds: " + err.Error()
	}
	for _, h := range answer.Items {
		list.Items = append(list.Items, newHoldView(h))
	}
	slices.SortFunc(list.Items, func(a, b holdView) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.Name, b.Name))
	})
	return list
}

func newHoldView(h readHold) holdView {
	return holdView{
		Namespace: h.Metadata.Namespace, Name: h.Metadata.Name,
		Workload: strings.ToLower(h.Spec.Workload.Kind) + "/" + h.Spec.Workload.Name, Replicas: h.Spec.Replicas,
		State: cmp.Or(h.Status.State, "new"), Since: cmp.Or(h.Status.Entered.Time, h.Metadata.CreationTimestamp.Time), Until: h.Spec.Until.Time,
		By: h.Spec.By, Reason: h.Spec.Reason, Message: h.Status.Message, Paused: h.Spec.Paused,
	}
}
