package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	classifier "github.com/google/licenseclassifier/v2"
	"github.com/google/licenseclassifier/v2/assets"
)

// acceptedLicenses permit to pass a program on in binary form, together with their texts and NOTICE files.
var acceptedLicenses = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// moduleLicense is the licence of a module in a program.
type moduleLicense struct {
	path, version string
	id            string // SPDX expression
	texts         []licenseText
}

// licenseText is a file of a module that a copy of the program must carry along: its licence or its NOTICE.
type licenseText struct {
	name string // path within the module
	text []byte
}

// licenseFile is the name of a licence or of a NOTICE.
var licenseFile = regexp.MustCompile(`(?i)^(licen[sc]e|copying|notice)([-.].*)?$`)

// loadClassifier loads the known texts of licences.
var loadClassifier = sync.OnceValues(assets.DefaultClassifier)

// listedPackage is a package as `go list -json` describes it.
type listedPackage struct {
	Dir      string
	Standard bool
	Module   *listedModule
}

type listedModule struct {
	Path, Version, Dir string
	Main               bool
	Replace            *listedModule
}

// listLicenses returns the licences of the modules in a program, by path, that of Go first.
func (r *release) listLicenses(ctx context.Context, program string, s system) ([]moduleLicense, error) {
	args := append([]string{"list", "-deps", "-json=Dir,Standard,Module"}, r.programFlags[program]...)
	list := r.newReleaseCommand(ctx, "go", append(args, "./cmd/"+program)...)
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+s.os, "GOARCH="+s.arch)
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages of %s: %w", program, err)
	}
	modules, err := r.findGoLicense(ctx)
	if err != nil {
		return nil, err
	}
	for packages := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("list the packages of %s: %w", program, err)
		}
		if err := addPackageLicense(modules, p); err != nil {
			return nil, fmt.Errorf("%s: %w", program, err)
		}
	}
	return sortLicenses(modules)
}

// findGoLicense returns the licence of the standard library, as the first module.
func (r *release) findGoLicense(ctx context.Context) (map[string]*moduleLicense, error) {
	out, err := r.newReleaseCommand(ctx, "go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	text, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		return nil, fmt.Errorf("licence of Go: %w; use a toolchain from go.dev, which brings the file", err)
	}
	return map[string]*moduleLicense{"": {path: "go", version: strings.TrimPrefix(version, "go"), texts: []licenseText{{"LICENSE", text}}}}, nil
}

// addPackageLicense adds to its module the licence that is nearest to a package: in its own folder, or in one above it.
func addPackageLicense(modules map[string]*moduleLicense, p listedPackage) error {
	m := p.Module
	if p.Standard || m == nil || m.Main {
		return nil
	}
	if m.Replace != nil {
		m = m.Replace
	}
	if m.Version == "" { // a folder of this repository
		return nil
	}
	texts, err := findNearestLicense(m, p.Dir)
	if err != nil {
		return err
	}
	found := modules[m.Path]
	if found == nil {
		found = &moduleLicense{path: m.Path, version: m.Version}
		modules[m.Path] = found
	}
	for _, text := range texts {
		if !slices.ContainsFunc(found.texts, func(have licenseText) bool { return have.name == text.name }) {
			found.texts = append(found.texts, text)
		}
	}
	return nil
}

// findNearestLicense returns the licence in a folder of a module, or in the nearest folder above it that has one.
func findNearestLicense(m *listedModule, folder string) ([]licenseText, error) {
	for ; ; folder = filepath.Dir(folder) {
		texts, err := readLicenseTexts(m.Dir, folder)
		if err != nil || len(texts) > 0 {
			return texts, err
		}
		if folder == m.Dir || len(folder) <= len(m.Dir) {
			return nil, fmt.Errorf("module %s has no licence file; the program must not be passed on with it", m.Path)
		}
	}
}

func readLicenseTexts(root, folder string) ([]licenseText, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var texts []licenseText
	for _, entry := range entries {
		if entry.IsDir() || !licenseFile.MatchString(entry.Name()) || strings.HasSuffix(entry.Name(), ".go") {
			continue
		}
		file := filepath.Join(folder, entry.Name())
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return nil, err
		}
		texts = append(texts, licenseText{filepath.ToSlash(name), text})
	}
	return texts, nil
}

// sortLicenses names the licence of each module, and returns the modules by path. A licence that is not accepted is an error.
func sortLicenses(modules map[string]*moduleLicense) ([]moduleLicense, error) {
	known, err := loadClassifier()
	if err != nil {
		return nil, fmt.Errorf("load the texts of licences: %w", err)
	}
	var sorted []moduleLicense
	var faults []error
	for _, m := range modules {
		slices.SortFunc(m.texts, func(a, b licenseText) int { return cmp.Compare(a.name, b.name) })
		if m.id, err = nameLicense(known, m.texts); err != nil {
			faults = append(faults, fmt.Errorf("module %s %s: %w", m.path, m.version, err))
		}
		sorted = append(sorted, *m)
	}
	slices.SortFunc(sorted, func(a, b moduleLicense) int { return cmp.Compare(a.path, b.path) })
	slices.SortFunc(faults, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return sorted, errors.Join(faults...)
}

// nameLicense returns the SPDX expression of the licences in some texts.
func nameLicense(known *classifier.Classifier, texts []licenseText) (string, error) {
	var ids []string
	for _, text := range texts {
		if strings.HasPrefix(strings.ToLower(filepath.Base(text.name)), "notice") {
			continue
		}
		count := len(ids)
		for _, match := range known.Match(text.text).Matches {
			if match.MatchType != "Copyright" {
				ids = append(ids, match.Name)
			}
		}
		if len(ids) == count {
			return "", fmt.Errorf("%s: no known licence; read it, and leave the module out unless it permits binary copies", text.name)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for _, id := range ids {
		if !slices.Contains(acceptedLicenses, id) {
			return "", fmt.Errorf("licence %s is not accepted; accepted: %s", id, strings.Join(acceptedLicenses, ", "))
		}
	}
	return strings.Join(ids, " AND "), nil
}

// joinLicenseTexts returns the texts of all modules, for the archive of a program.
func joinLicenseTexts(modules []moduleLicense) []byte {
	var all bytes.Buffer
	for _, m := range modules {
		for _, t := range m.texts {
			fmt.Fprintf(&all, "==== %s %s (%s): %s\n\n%s\n", m.path, m.version, m.id, t.name, bytes.TrimSpace(t.text))
		}
	}
	return all.Bytes()
}

// writeLicenses writes the table of all modules, with the programs that contain them.
func (r *release) writeLicenses(context.Context) error {
	type row struct{ path, version, id string }
	programs := map[row][]string{}
	for _, program := range r.existingReleasePrograms() {
		for _, m := range r.licenses[program] {
			programs[row{m.path, m.version, m.id}] = append(programs[row{m.path, m.version, m.id}], program)
		}
	}
	var lines []string
	for m, in := range programs {
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %s |\n", m.path, m.version, m.id, strings.Join(slices.Compact(in), ", ")))
	}
	slices.Sort(lines)
	text := "# Licences of dependencies\n\nThe texts are in the archive of each program, in `THIRD_PARTY_LICENSES`.\n\n" +
		"| module | version | licence | in |\n| --- | --- | --- | --- |\n" + strings.Join(lines, "")
	return os.WriteFile(filepath.Join(r.out, "licenses.md"), []byte(text), 0o644)
}
