//go:build unix

// Requests to the API server as administrator, and the waits for a ready control plane and node.

package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// adminClient returns an HTTP client of the API server with the administrator's certificate.
func (c *Cluster) adminClient() (*http.Client, error) {
	ca, err := os.ReadFile(c.CA())
	if err != nil {
		return nil, err
	}
	admin, err := tls.LoadX509KeyPair(c.AdminCert(), c.AdminKey())
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{admin}}},
	}, nil
}

// getClusterPath reads one path of the API into answer, which may be nil.
func (c *Cluster) getClusterPath(ctx context.Context, client *http.Client, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.state.Server+path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, response.Status, bytes.TrimSpace(body))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(body, answer)
}

// awaitClusterCheck calls check until it returns nil. If ctx ends first, the error contains the last error of check.
func (c *Cluster) awaitClusterCheck(ctx context.Context, what string, check func(context.Context, *http.Client) error) error {
	client, err := c.adminClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	var last error
	err = pollClusterEvery(ctx, 50*time.Millisecond, func() bool {
		if last = c.checkComponentsRun(); last == nil {
			last = check(ctx, client)
		}
		return last == nil || errors.Is(last, errEnded)
	})
	if err == nil {
		return last
	}
	return fmt.Errorf("wait for %s: %w (last: %w)", what, context.Cause(ctx), last)
}

// errEnded means a process of the cluster has ended, so waiting longer is useless.
var errEnded = errors.New("ended too early")

// checkComponentsRun returns an error that is errEnded if a process of the cluster has ended.
func (c *Cluster) checkComponentsRun() error {
	statuses, err := c.readProcessStatuses()
	if err != nil {
		return err
	}
	for name, status := range statuses {
		if status.Exit != "" {
			return fmt.Errorf("%s %w: %s", name, errEnded, status.Exit)
		}
	}
	if !c.state.Supervisor.Alive() {
		return fmt.Errorf("the supervisor %w", errEnded)
	}
	return nil
}

func (c *Cluster) awaitControlPlane(ctx context.Context) error {
	return c.awaitClusterCheck(ctx, "the control plane", func(ctx context.Context, client *http.Client) error {
		if err := c.getClusterPath(ctx, client, "/readyz", nil); err != nil {
			return err
		}
		// The controller manager makes both; without them no pod is admitted, or none starts.
		if err := c.getClusterPath(ctx, client, "/api/v1/namespaces/default/serviceaccounts/default", nil); err != nil {
			return err
		}
		return c.getClusterPath(ctx, client, "/api/v1/namespaces/default/configmaps/kube-root-ca.crt", nil)
	})
}

// node holds the fields of a Node that the readiness check reads.
type node struct {
	Spec struct {
		Taints []struct{ Key string }
	}
	Status struct {
		Conditions []struct{ Type, Status, Message string }
	}
}

func (c *Cluster) awaitNode(ctx context.Context) error {
	return c.awaitClusterCheck(ctx, "the node", func(ctx context.Context, client *http.Client) error {
		var n node
		if err := c.getClusterPath(ctx, client, "/api/v1/nodes/"+NodeName, &n); err != nil {
			return err
		}
		for _, condition := range n.Status.Conditions {
			if condition.Type == "Ready" && condition.Status != "True" {
				return fmt.Errorf("node is not ready: %s", condition.Message)
			}
		}
		if len(n.Spec.Taints) > 0 || len(n.Status.Conditions) == 0 {
			return fmt.Errorf("node is tainted: %v", n.Spec.Taints)
		}
		return nil
	})
}
