package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// scaledObjects is a small definition of KEDA's ScaledObject, written for this test: the fields of its name and bounds, and like KEDA's own without a scale.
const scaledObjects = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: scaledobjects.keda.sh}
spec:
  group: keda.sh
  scope: Namespaced
  names: {kind: ScaledObject, listKind: ScaledObjectList, plural: scaledobjects, singular: scaledobject, shortNames: [so]}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [scaleTargetRef, triggers]
            properties:
              scaleTargetRef: {type: object, required: [name], properties: {name: {type: string}}}
              minReplicaCount: {type: integer, format: int32}
              maxReplicaCount: {type: integer, format: int32}
              triggers: {type: array, items: {type: object, x-kubernetes-preserve-unknown-fields: true}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
`

const scaledObject = `apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: shop-queue, namespace: NAMESPACE}
spec:
  scaleTargetRef: {name: shop}
  minReplicaCount: 2
  maxReplicaCount: 30
  triggers: [{type: kafka, metadata: {topic: orders}}]
`

// kedaSentence is what each command and the Hold say.
const kedaSentence = "autoscaler shop belongs to ScaledObject shop-queue, which reverts every change: set its minReplicaCount instead"

// newScaledObject creates a ScaledObject that owns the autoscaler shop, as KEDA makes it.
func newScaledObject(t *testing.T, namespace string) {
	t.Helper()
	if err := shared.Apply(t.Context(), scaledObjects); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		return shared.Apply(ctx, strings.ReplaceAll(scaledObject, "NAMESPACE", namespace))
	})
	uid, err := shared.Kubectl(t.Context(), "-n", namespace, "get", "so", "shop-queue", "-o", "jsonpath={.metadata.uid}")
	if err != nil {
		t.Fatal(err)
	}
	owner := fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject","name":"shop-queue","uid":%q,"controller":true}]}}`, uid)
	_, err = client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Patch(t.Context(), "shop", types.MergePatchType, []byte(owner), metav1.PatchOptions{FieldManager: "keda-operator"})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKEDA: KEDA reverts each change of its autoscaler, so the scaler changes none. set, check and a Hold from Git name the ScaledObject and its field, and that field can be
// patched. When the ScaledObject lets the autoscaler go, the hold begins.
func TestKEDA(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	newScaledObject(t, namespace)
	before := mustReadWorld(t, namespace)
	c := &commandRun{t: t, program: buildScaler(t), namespace: namespace}
	command := func(code int, part string, args ...string) {
		t.Helper()
		c.want(code, part, args...)
		wantWorld(t, namespace, before)
	}
	command(1, kedaSentence, "set", "deploy/shop", "--replicas", "6")
	command(1, kedaSentence, "set", "deploy/shop", "--replicas", "6", "--dry-run=server")
	command(2, "has no replicas to hold: its resource has no scale", "set", "so/shop-queue", "--replicas", "6")
	config := strings.NewReplacer("replicas: 9", "replicas: 6", "minReplicas: 4", "minReplicas: 2").Replace(saleConfig)
	s := startScalerWith(t, c.program, namespace, config)
	if err := shared.Apply(t.Context(), strings.ReplaceAll(launchHold, "NAMESPACE", namespace)); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func(ctx context.Context) error {
		out, err := shared.Kubectl(ctx, "-n", namespace, "get", "hold", "launch", "-o", "jsonpath={.status.state}: {.status.message}")
		if err == nil && (!bytes.HasPrefix(out, []byte("RolledBack: ")) || !bytes.Contains(out, []byte(kedaSentence))) {
			err = errors.New(string(out))
		}
		return err
	})
	command(1, kedaSentence, "check", "--config", s.config)
	if _, err := shared.Kubectl(t.Context(), "-n", namespace, "patch", "scaledobject", "shop-queue", "--type=merge", "-p", `{"spec":{"minReplicaCount":7}}`); err != nil {
		t.Errorf("what the sentence says: %v", err)
	}
	s.kill()
	released := []byte(`{"metadata":{"ownerReferences":null}}`)
	if _, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Patch(t.Context(), "shop", types.MergePatchType, released, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.want(0, "8 replicas", "set", "deploy/shop", "--replicas", "8")
	awaitMinReplicas(t, namespace, 8)
}
