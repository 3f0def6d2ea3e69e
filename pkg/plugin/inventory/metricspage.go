// The metrics page of a pod, behind kube-apiserver's proxy.

package inventory

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// ScrapedPage returns the path of a pod's metrics page below kube-apiserver's root. An error says why the pod has none.
func ScrapedPage(pod *corev1.Pod) (string, error) {
	page, port, err := podpage.URL("", pod.Annotations, podpage.Containers(&pod.Spec))
	if err != nil {
		return "", err
	}
	if slices.Contains(strings.Split(page.Path, "/"), "..") {
		return "", fmt.Errorf("annotation %s is %q, which leaves the pod", podpage.AnnotationPath, pod.Annotations[podpage.AnnotationPath])
	}
	scheme := ""
	if page.Scheme == "https" {
		scheme = "https:"
	}
	return fmt.Sprintf("/api/v1/namespaces/%s/pods/%s%s:%d/proxy%s", pod.Namespace, scheme, pod.Name, port, page.RequestURI()), nil
}
