package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/licenseclassifier/v2/assets"
)

// TestLicenses makes up modules: the nearest licence of each package counts, and a module that must not be passed on is an error.
func TestLicenses(t *testing.T) {
	t.Parallel()
	apache, isc, gpl := readKnownLicense(t, "Apache-2.0/pristine.txt"), readKnownLicense(t, "ISC/license.txt"), readKnownLicense(t, "GPL-3.0/license.txt")
	for name, test := range map[string]struct {
		files    map[string]string
		packages []string
		want     string // the module's licences
		fault    string // part of the error
	}{
		"one at the root":         {map[string]string{"LICENSE": apache}, []string{"a/b"}, "Apache-2.0", ""},
		"another in a folder":     {map[string]string{"LICENSE": apache, "a/LICENSE.txt": isc}, []string{"", "a/b"}, "Apache-2.0 AND ISC", ""},
		"one of a folder only":    {map[string]string{"LICENSE": apache, "a/COPYING": isc}, []string{"a"}, "ISC", ""},
		"a NOTICE is no licence":  {map[string]string{"LICENSE": apache, "NOTICE": "by many"}, []string{""}, "Apache-2.0", ""},
		"none":                    {map[string]string{"a/README": "x"}, []string{"a"}, "", "module example.org/m has no licence file"},
		"not accepted":            {map[string]string{"LICENSE": gpl}, []string{""}, "", "module example.org/m v1.0.0: licence GPL-3.0 is not accepted"},
		"unknown":                 {map[string]string{"LICENSE": "All rights reserved."}, []string{""}, "", "LICENSE: no known licence"},
		"a program is no licence": {map[string]string{"license.go": "package m"}, []string{""}, "", "has no licence file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			writeModule(t, root, test.files, test.packages)
			got, err := nameModuleLicense(root, test.packages)
			switch {
			case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)):
				t.Errorf("error %v, want %q", err, test.fault)
			case test.fault == "" && (err != nil || got != test.want):
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func readKnownLicense(t *testing.T, name string) string {
	t.Helper()
	text, err := assets.ReadLicenseFile("License/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeModule(t *testing.T, root string, files map[string]string, folders []string) {
	t.Helper()
	for _, folder := range folders {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func nameModuleLicense(root string, packages []string) (string, error) {
	modules := map[string]*moduleLicense{}
	for _, folder := range packages {
		p := listedPackage{Dir: filepath.Join(root, folder), Module: &listedModule{Path: "example.org/m", Version: "v1.0.0", Dir: root}}
		if err := addPackageLicense(modules, p); err != nil {
			return "", err
		}
	}
	sorted, err := sortLicenses(modules)
	if err != nil {
		return "", err
	}
	return sorted[0].id, nil
}
