package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
)

const home = "https://github.com/tachometer-metrics/tachometer"

// packed is a file of an archive.
type packed struct {
	name string
	text []byte
	mode int64
}

// packReleaseArchive writes a tar.gz whose bytes depend on the files and the commit's time alone.
func (r *release) packReleaseArchive(name string, files []packed) error {
	var archive bytes.Buffer
	compressed := gzip.NewWriter(&archive)
	out := tar.NewWriter(compressed)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.text)), ModTime: r.commit, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if err := out.WriteHeader(header); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
		if _, err := out.Write(f.text); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := errors.Join(out.Close(), compressed.Close()); err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	return os.WriteFile(filepath.Join(r.out, name), archive.Bytes(), 0o644)
}

// writeSBOM writes the modules of a binary, as the go command recorded them, and their licences in SPDX 2.3.
func (r *release) writeSBOM(name, program, binary string, licenses []moduleLicense) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	document := &v2_3.Document{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXIdentifier: "DOCUMENT",
		DocumentName: strings.TrimSuffix(name, ".spdx.json"), DocumentNamespace: home + "/sbom/" + name,
		CreationInfo: &v2_3.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Organization", Creator: "Tachometer"}}, Created: r.commit.Format(time.RFC3339),
		},
		Packages: []*v2_3.Package{newSPDXPackage("program", program, r.version, "Apache-2.0", "pkg:golang/github.com/tachometer-metrics/tachometer@"+r.version)},
	}
	document.Relationships = append(document.Relationships, newSPDXRelationship("DOCUMENT", "DESCRIBES", "program"))
	ids := map[string]string{}
	for _, l := range licenses {
		ids[l.path] = l.id
	}
	for i, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		if strings.HasPrefix(m.Path, "./") { // of this repository
			continue
		}
		id := common.ElementID(fmt.Sprintf("module-%d", i))
		document.Packages = append(document.Packages, newSPDXPackage(id, m.Path, m.Version, ids[m.Path], "pkg:golang/"+m.Path+"@"+m.Version))
		document.Relationships = append(document.Relationships, newSPDXRelationship("program", "DEPENDS_ON", id))
	}
	number := strings.TrimPrefix(info.GoVersion, "go")
	document.Packages = append(document.Packages, newSPDXPackage("toolchain", "go", number, ids["go"], "pkg:golang/stdlib@"+number))
	document.Relationships = append(document.Relationships, newSPDXRelationship("program", "DEPENDS_ON", "toolchain"))
	text, err := json.MarshalIndent(document, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, name), append(text, '\n'), 0o644)
}

func newSPDXPackage(id common.ElementID, name, version, license, url string) *v2_3.Package {
	if license == "" { // a module without a package in the program, such as one that only go.mod names
		license = "NOASSERTION"
	}
	return &v2_3.Package{
		PackageSPDXIdentifier: id, PackageName: name, PackageVersion: version, PackageDownloadLocation: "NOASSERTION",
		PackageLicenseConcluded: license, PackageLicenseDeclared: license, PackageCopyrightText: "NOASSERTION",
		PackageExternalReferences: []*v2_3.PackageExternalReference{{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: url}},
	}
}

func newSPDXRelationship(from common.ElementID, kind string, to common.ElementID) *v2_3.Relationship {
	return &v2_3.Relationship{RefA: common.DocElementID{ElementRefID: from}, RefB: common.DocElementID{ElementRefID: to}, Relationship: kind}
}

// buildReleaseImage builds an image by the repository's Dockerfile.
func (r *release) buildReleaseImage(ctx context.Context, image, arch, archive string) error {
	return cluster.BuildImage(ctx, cluster.ImageBuild{
		Context: r.root, Target: image, Tag: image + ":" + r.version, Archive: archive, Install: true, Log: os.Stderr,
		Args: map[string]string{"VERSION": r.version, "TARGETARCH": arch}, Architecture: arch, Timestamp: r.commit,
	})
}

// renderReleaseManifests writes each kustomize folder that people apply as one file, with the images of this version.
func (r *release) renderReleaseManifests(context.Context) error {
	for file, folder := range map[string]string{"adapter.yaml": "adapter", "adapter-resource-metrics.yaml": "adapter-resource-metrics", "scaler.yaml": "scaler/base"} {
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(r.root, "manifests", folder))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		text, err := built.AsYaml()
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, image := range images {
			text = bytes.ReplaceAll(text, []byte("image: "+image+":dev\n"), []byte("image: "+image+":"+r.version+"\n"))
		}
		if bytes.Contains(text, []byte(":dev\n")) {
			return fmt.Errorf("%s still names an image of no release", file)
		}
		if err := os.WriteFile(filepath.Join(r.out, file), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// packReleaseCharts packs each Helm chart with this version.
func (r *release) packReleaseCharts(context.Context) error {
	folders, err := filepath.Glob(filepath.Join(r.root, "manifests", "helm", "*"))
	if err != nil {
		return err
	}
	number := strings.TrimPrefix(r.version, "v")
	section, err := r.readReleaseChanges()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		name := filepath.Base(folder)
		var files []packed
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			inside, err := filepath.Rel(folder, path)
			if err != nil || strings.HasPrefix(inside, "ci"+string(filepath.Separator)) {
				return err
			}
			text, err := os.ReadFile(path)
			if inside == "Chart.yaml" && err == nil {
				text, err = r.versionReleaseChart(text, section)
			}
			files = append(files, packed{name + "/" + filepath.ToSlash(inside), text, 0o644})
			return err
		})
		if err != nil {
			return fmt.Errorf("pack chart %s: %w", name, err)
		}
		slices.SortFunc(files, func(a, b packed) int { return strings.Compare(a.name, b.name) })
		if err := r.packReleaseArchive(name+"-"+number+".tgz", files); err != nil {
			return err
		}
	}
	return nil
}

// versionReleaseChart returns a Chart.yaml with the versions and the changes of the release.
func (r *release) versionReleaseChart(text []byte, section string) ([]byte, error) {
	var meta map[string]any
	if err := yaml.Unmarshal(text, &meta); err != nil {
		return nil, err
	}
	changes, err := formatChartChanges(section)
	if err != nil {
		return nil, err
	}
	meta["version"], meta["appVersion"] = strings.TrimPrefix(r.version, "v"), r.version
	annotations := meta["annotations"].(map[string]any)
	annotations["artifacthub.io/changes"] = changes
	annotations["artifacthub.io/prerelease"] = strconv.FormatBool(strings.Contains(r.version, "-"))
	return yaml.Marshal(meta)
}

// readReleaseChanges returns the release's section of the changelog.
func (r *release) readReleaseChanges() (string, error) {
	text, err := os.ReadFile(filepath.Join(r.root, "CHANGELOG.md"))
	if err != nil {
		return "", err
	}
	return findChangelogSection(string(text), strings.TrimPrefix(r.version, "v"))
}

// writeReleaseNotes writes the release's section of the changelog.
func (r *release) writeReleaseNotes(context.Context) error {
	section, err := r.readReleaseChanges()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "notes.md"), []byte(r.releaseNotesHead()+section), 0o644)
}

// findChangelogSection returns the section of a version; before it has its heading, that of Unreleased.
func findChangelogSection(changelog, version string) (string, error) {
	bodies := map[string]string{}
	for _, section := range strings.Split("\n"+changelog, "\n## ")[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		name, _, _ := strings.Cut(strings.Trim(heading, "[]v "), " ") // a date may follow
		bodies[strings.TrimSuffix(name, "]")] = strings.TrimLeft(body, "\n")
	}
	for _, name := range []string{version, "Unreleased"} {
		if body := bodies[name]; body != "" {
			return body, nil
		}
	}
	return "", fmt.Errorf("CHANGELOG.md has no section %q, and nothing in Unreleased: write what changed", version)
}

// releaseNotesHead returns what a reader types first: the check of the files, and the install.
func (r *release) releaseNotesHead() string {
	const head = `# VERSION

~~~sh
sha256sum -c --ignore-missing checksums.txt
docker load -i tachometer-adapter_VERSION_linux_amd64.image.tar    # then tag it for your registry, and push it
helm install tachometer-adapter tachometer-adapter-NUMBER.tgz --namespace tachometer --create-namespace \
  --set image.repository=REGISTRY/tachometer-adapter
kubectl krew install --manifest=krew.yaml                          # kubectl tachometer doctor
~~~

Without Helm: adapter.yaml and scaler.yaml, after their images have your registry's names. Licences of all modules: licenses.md.

`
	return strings.NewReplacer("VERSION", r.version, "NUMBER", strings.TrimPrefix(r.version, "v"), "~~~", "```").Replace(head)
}

// writeKrewManifest writes the plugin's manifest for krew's index.
func (r *release) writeKrewManifest(context.Context) error {
	const plugin = "kubectl-tachometer"
	if !slices.Contains(r.existingReleasePrograms(), plugin) {
		return nil
	}
	var platforms []map[string]any
	for _, s := range r.systems {
		name := fmt.Sprintf("%s_%s_%s_%s.tar.gz", plugin, r.version, s.os, s.arch)
		sum, err := sumReleaseFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		platforms = append(platforms, map[string]any{
			"selector": map[string]any{"matchLabels": map[string]string{"os": s.os, "arch": s.arch}},
			"uri":      home + "/releases/download/" + r.version + "/" + name, "sha256": sum, "bin": plugin,
		})
	}
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": "krew.googlecontainertools.github.com/v1alpha2", "kind": "Plugin", "metadata": map[string]string{"name": "tachometer"},
		"spec": map[string]any{
			"version": r.version, "homepage": home, "shortDescription": "Explain and check HPAs on custom metrics", "platforms": platforms,
			"description": "Says why an HPA asks for its number of replicas, checks the chain from the HPA\nto the pods' metrics, and lists the metrics to scale on.\n",
		},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "krew.yaml"), text, 0o644)
}

// writeReleaseChecksums writes the SHA-256 of each file, as sha256sum does.
func (r *release) writeReleaseChecksums(context.Context) error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, entry := range entries {
		sum, err := sumReleaseFile(filepath.Join(r.out, entry.Name()))
		if err != nil {
			return err
		}
		lines.WriteString(sum + "  " + entry.Name() + "\n")
	}
	return os.WriteFile(filepath.Join(r.out, "checksums.txt"), []byte(lines.String()), 0o644)
}

func sumReleaseFile(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(text)), nil
}
