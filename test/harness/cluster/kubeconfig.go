//go:build unix

// Kubeconfig files, and the certificates of users and components.

package cluster

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
)

// writeKubeconfig writes a self-contained kubeconfig, readable by its owner only.
func (c *Cluster) writeKubeconfig(path string, who pair) error {
	ca, err := encodeKubeconfigFile(c.pkiPair("ca").cert)
	if err != nil {
		return err
	}
	cert, err := encodeKubeconfigFile(who.cert)
	if err != nil {
		return err
	}
	key, err := encodeKubeconfigFile(who.key)
	if err != nil {
		return err
	}
	const format = `apiVersion: v1
kind: Config
current-context: %[1]q
clusters:
- name: %[1]q
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: user
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
contexts:
- name: %[1]q
  context:
    cluster: %[1]q
    user: user
`
	return os.WriteFile(path, fmt.Appendf(nil, format, c.state.Name, c.state.Server, ca, cert, key), 0o600)
}

func encodeKubeconfigFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	return base64.StdEncoding.EncodeToString(data), err
}

// AddUser returns the path of a new kubeconfig for a user with a name and groups. The user's rights are the RBAC rules for them.
func (c *Cluster) AddUser(name string, groups ...string) (string, error) {
	ca, err := openAuthority(c.pkiPair("ca"))
	if err != nil {
		return "", fmt.Errorf("add user %s: %w", name, err)
	}
	dir, err := os.MkdirTemp(c.clusterFilePath("users"), "user-")
	if err != nil {
		return "", fmt.Errorf("add user %s: %w", name, err)
	}
	who := pair{cert: filepath.Join(dir, "client.crt"), key: filepath.Join(dir, "client.key")}
	if err := ca.issueCertificate(who, identity{name: name, groups: groups}); err != nil {
		return "", fmt.Errorf("add user %s: %w", name, err)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := c.writeKubeconfig(kubeconfig, who); err != nil {
		return "", fmt.Errorf("add user %s: %w", name, err)
	}
	return kubeconfig, nil
}

// writeIdentities makes every key, certificate and kubeconfig of the cluster.
func (c *Cluster) writeIdentities() error {
	authorities := map[string]*authority{}
	for _, name := range []string{"ca", "front-proxy-ca", "etcd-ca"} {
		a, err := newAuthority(c.pkiPair(name), "tachometer "+c.state.Name+" "+name)
		if err != nil {
			return err
		}
		authorities[name] = a
	}
	inside := []string{"localhost", "127.0.0.1"}
	server := append([]string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		c.state.Network.firstServiceIP(), c.state.Network.Address,
	}, inside...)
	for name, cert := range map[string]struct {
		by  string
		who identity
	}{
		"etcd":              {"etcd-ca", identity{name: "etcd", hosts: inside}},
		"apiserver":         {"ca", identity{name: "kube-apiserver", hosts: server}},
		"kubelet":           {"ca", identity{name: NodeName, hosts: append(inside, c.state.Network.Address, NodeName)}},
		"front-proxy":       {"front-proxy-ca", identity{name: "front-proxy-client"}},
		"apiserver-kubelet": {"ca", identity{name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}}},
	} {
		if err := authorities[cert.by].issueCertificate(c.pkiPair(name), cert.who); err != nil {
			return err
		}
	}
	for name, who := range map[string]identity{
		"admin":                   {name: "kubernetes-admin", groups: []string{"system:masters"}},
		"kube-controller-manager": {name: "system:kube-controller-manager"},
		"kube-scheduler":          {name: "system:kube-scheduler"},
		"kube-proxy":              {name: "system:kube-proxy"},
		"node":                    {name: "system:node:" + NodeName, groups: []string{"system:nodes"}},
	} {
		if err := authorities["ca"].issueCertificate(c.pkiPair(name), who); err != nil {
			return err
		}
		if err := c.writeKubeconfig(c.clusterFilePath(name+".kubeconfig"), c.pkiPair(name)); err != nil {
			return err
		}
	}
	return writeServiceAccountKey(c.pkiPair("service-account").key, c.clusterFilePath("pki", "service-account.pub"))
}
