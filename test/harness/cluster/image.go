//go:build unix

// Image archives: written from files, and imported into the containerd of a node.

package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// PauseImage is on every node. Its program waits for SIGTERM, for pods that need no work.
const PauseImage = "tachometer/pause:1"

// LoadImage imports an image archive into the node: an archive of PackImage, BuildImage or `docker save`. Pods that use it need
// imagePullPolicy Never or IfNotPresent.
func (c *Cluster) LoadImage(ctx context.Context, archive string) error {
	if !c.state.Node {
		return fmt.Errorf("load image %s: the cluster has no node", archive)
	}
	out, err := exec.CommandContext(ctx, c.state.Tools["ctr"], "--address", c.containerdSocket(), "--namespace", "k8s.io", "images", "import", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("load image %s: %w: %s", archive, err, bytes.TrimSpace(out))
	}
	return nil
}

// containerdSocket returns the path, seen from this machine, of the socket in the node's own /run.
func (c *Cluster) containerdSocket() string {
	return fmt.Sprintf("/proc/%d/root%s", c.state.Supervisor.PID, containerdSocket)
}

// importPause waits for containerd and imports the sandbox image, which every pod needs.
func (c *Cluster) importPause(ctx context.Context) error {
	archive := c.clusterFilePath("images", "pause.tar")
	if err := PackImage(archive, Image{Tag: PauseImage, Files: map[string]string{"/pause": c.state.Programs.Pause}, Entrypoint: []string{"/pause"}}); err != nil {
		return err
	}
	listens := func() bool {
		_, err := os.Stat(c.containerdSocket())
		return err == nil || c.checkComponentsRun() != nil
	}
	if err := pollClusterEvery(ctx, pollInterval, listens); err != nil {
		return fmt.Errorf("wait for containerd: %w", err)
	}
	return errors.Join(c.checkComponentsRun(), c.LoadImage(ctx, archive))
}

// Image describes an image for PackImage: files of this machine, in a single layer from scratch.
type Image struct {
	Tag        string            // NAME:TAG
	Files      map[string]string // path in the image → path on this machine; all become executable by all users
	Links      map[string]string // path in the image → target of the link
	Entrypoint []string
	User       string   // numeric; empty is root
	Env        []string // NAME=VALUE
}

// PackImage writes an image archive without any builder, for a static program that a test runs in a pod.
func PackImage(archive string, image Image) error {
	layer, err := packLayer(image)
	if err != nil {
		return fmt.Errorf("pack image %s: %w", image.Tag, err)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": image.Entrypoint, "User": image.User, "Env": image.Env},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + imageDigest(layer)}},
	})
	if err != nil {
		return err
	}
	configName := imageDigest(config) + ".json"
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": []string{image.Tag}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, file := range []struct {
		name string
		data []byte
	}{{"layer.tar", layer}, {configName, config}, {"manifest.json", manifest}} {
		if err := addImageFile(w, file.name, file.data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(archive, out.Bytes(), 0o644)
}

func imageDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func packLayer(image Image) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return nil, err
	}
	for _, path := range sortedImageFiles(image.Files) {
		data, err := os.ReadFile(image.Files[path])
		if err != nil {
			return nil, err
		}
		if err := addImageFile(w, strings.TrimPrefix(path, "/"), data); err != nil {
			return nil, err
		}
	}
	for _, path := range sortedImageFiles(image.Links) {
		link := &tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(path, "/"), Linkname: image.Links[path], Mode: 0o777}
		if err := w.WriteHeader(link); err != nil {
			return nil, err
		}
	}
	return layer.Bytes(), w.Close()
}

func sortedImageFiles(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func addImageFile(w *tar.Writer, name string, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}
