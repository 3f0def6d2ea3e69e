package stack

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
)

// InstallProcess applies the adapter's shipped manifests without its pods. The Service leads to a process of this machine that
// listens on the port, and the APIServices to that Service.
func InstallProcess(ctx context.Context, c *cluster.Cluster, root string, port int) error {
	text := map[string]string{}
	for _, name := range []string{"namespace", "rbac", "certificate", "apiservices"} {
		data, err := os.ReadFile(filepath.Join(root, "manifests", "adapter", name+".yaml"))
		if err != nil {
			return err
		}
		text[name] = string(data)
	}
	if err := c.Apply(ctx, strings.Join([]string{text["namespace"], text["rbac"], text["certificate"]}, "\n---\n")); err != nil {
		return err
	}
	seen, err := c.Expose(ctx, AdapterNamespace, "tachometer-adapter", port)
	if err != nil {
		return err
	}
	return c.Apply(ctx, strings.ReplaceAll(text["apiservices"], "port: 443", fmt.Sprintf("port: %d", seen)))
}

// WriteAdapterKubeconfig writes a kubeconfig with the rights of the adapter's shipped ServiceAccount, valid for an hour.
func WriteAdapterKubeconfig(ctx context.Context, c *cluster.Cluster, path string) error {
	return WriteKubeconfig(ctx, c, "tachometer-adapter", path)
}

// WriteKubeconfig writes a kubeconfig with the rights of a ServiceAccount beside the adapter, valid for an hour.
func WriteKubeconfig(ctx context.Context, c *cluster.Cluster, account, path string) error {
	token, err := c.Kubectl(ctx, "-n", AdapterNamespace, "create", "token", account, "--duration=1h")
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(c.CA())
	if err != nil {
		return err
	}
	const format = `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
`
	text := fmt.Sprintf(format, c.Server(), base64.StdEncoding.EncodeToString(ca), strings.TrimSpace(string(token)))
	return os.WriteFile(path, []byte(text), 0o600)
}
