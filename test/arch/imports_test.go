// Package arch holds the house rules that a compiler does not: which package may import which, how names and log lines are
// written, and which words belong to one package alone.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/tachometer-metrics/tachometer/"
	root   = "../.."

	adapter = module + "pkg/adapter/"
	scaler  = module + "pkg/scaler/"
)

// kubernetes are the modules that hold Kubernetes's types; klog, the logger, is none of them.
var kubernetes = []string{
	"k8s.io/api/", "k8s.io/apimachinery/", "k8s.io/apiserver/", "k8s.io/client-go/", "k8s.io/component-base/",
	"k8s.io/kube-aggregator/", "k8s.io/metrics/", "sigs.k8s.io/custom-metrics-apiserver/", "sigs.k8s.io/metrics-server/",
}

// thirdParty is every import path with a dot in its first element.
var thirdParty = []string{"k8s.io/", "sigs.k8s.io/", "github.com/", "golang.org/", "go.uber.org/", "go.yaml.in/"}

// importRule forbids packages to import others.
type importRule struct {
	from   []string // packages below module, by prefix
	forbid []string // import paths, by prefix
	deep   bool     // also what third-party packages import on the way; else what ours do
	reason string
}

// importRules: first the wings, then the order within the reading wing, then within the writing wing.
var importRules = []importRule{
	{[]string{"pkg/adapter", "cmd/tachometer-adapter"}, []string{scaler}, true,
		"the adapter only reads the cluster"},
	{[]string{"pkg/scaler", "cmd/tachometer-scaler"}, []string{adapter}, true,
		"the one program that writes to the cluster stands on its own, with rights of its own"},
	{[]string{"cmd", "pkg"}, []string{"text/template", "html/template"}, false,
		"they call methods by name, so that the linker keeps every method of every type: 28 MB in the scaler, 20 in the adapter; the Datadog agent's fork does not"},
	{[]string{"pkg/plugin", "cmd/kubectl-tachometer"}, []string{adapter}, true,
		"the plugin has the rights of its user and reads only over kube-apiserver: what it knows, the APIs say"},
	{[]string{"pkg/plugin"}, []string{scaler}, true,
		"what explains autoscalers changes nothing: the plugin's hold is the scaler's own commands"},
	{[]string{"cmd/kubectl-tachometer", "pkg/scaler/command"},
		[]string{scaler + "config", scaler + "controller", scaler + "event"}, true,
		"a command acts for its user: the controller alone has a configuration, with its gates, and sources of events"},
	{[]string{"pkg/scaler/command"}, []string{scaler + "schedule"}, true,
		"a hold knows no calendar: the plugin's dashboard alone shows one"},
	{[]string{"pkg/kube", "pkg/filewatch", "pkg/fieldlimit", "pkg/plaintext", "pkg/podpage", "pkg/protocolswitch", "pkg/retry", "pkg/strict", "pkg/version", "pkg/domain", "pkg/reserved"}, []string{adapter, scaler, module + "pkg/sample"}, true,
		"packages that both wings share know neither"},
	{[]string{"pkg/filewatch", "pkg/fieldlimit", "pkg/plaintext", "pkg/protocolswitch", "pkg/retry", "pkg/strict", "pkg/version", "pkg/domain", "pkg/reserved"}, kubernetes, true,
		"a file, a pause and a word need no Kubernetes"},
	{[]string{"pkg/hpa"}, []string{module, "k8s.io/client-go/", "k8s.io/apiserver/", "k8s.io/kubernetes/"}, true,
		"the HPA's arithmetic is a pure library for every wing: types alone, no client and no clock"},
	{[]string{"pkg/sample", "cmd/sample"}, append([]string{adapter, scaler, module + "pkg/kube", module + "pkg/strict"}, kubernetes...), true,
		"the sample is a service like any other: it gets no help from the platform"},
	{[]string{"pkg"}, []string{module + "cmd"}, true,
		"programs use packages, never the other way round"},
	{[]string{"cmd", "pkg"}, []string{module + "test"}, true,
		"test code stays out of the programs"},
	{[]string{"cmd"}, []string{
		"testing", "github.com/google/go-cmp", "github.com/aws/", "github.com/Azure/", "cloud.google.com/",
		"github.com/prometheus/prometheus/scrape", "github.com/prometheus/prometheus/discovery", "github.com/prometheus/prometheus/tsdb",
	}, true, "these drag in three clouds' SDKs, a database on the disk, or test code"},

	{[]string{"pkg/adapter/metric", "pkg/adapter/netcause", "pkg/adapter/window"}, thirdParty, true,
		"the vocabulary, the words for errors and the formula cost nothing: standard library only"},
	{
		[]string{
			"pkg/adapter/config", "pkg/adapter/rule", "pkg/adapter/promadapter", "pkg/adapter/exposition", "pkg/adapter/scrape",
			"pkg/adapter/store", "pkg/adapter/query", "pkg/adapter/remote",
		},
		kubernetes, false, "the way of the data can be understood, tested and used without Kubernetes",
	},
	{[]string{"pkg/adapter/scrape"}, []string{adapter + "store", adapter + "query", adapter + "remote", adapter + "rule"}, true,
		"the scraper does not know the store or its readers: they meet in cmd"},
	{[]string{"pkg/adapter/scrape/http1"}, []string{module}, true,
		"an HTTP client knows nothing of metrics"},
	{[]string{"pkg/adapter/store"}, []string{adapter + "scrape", adapter + "query", adapter + "remote", adapter + "rule"}, true,
		"the store keeps samples of any origin for any query"},
	{[]string{"pkg/adapter/query"}, []string{adapter + "scrape", adapter + "store", adapter + "remote"}, true,
		"the engine reads any storage.Queryable"},
	{[]string{"pkg/adapter/remote"}, []string{adapter + "scrape", adapter + "store", adapter + "query"}, true,
		"a remote backend needs nothing of the embedded one"},
	{
		[]string{"pkg/adapter/provider", "pkg/adapter/apiserver", "pkg/adapter/resourcemetrics", "pkg/adapter/discovery"},
		[]string{adapter + "scrape", adapter + "store", adapter + "query", adapter + "remote"}, true,
		"the API side reaches values over interfaces, so that every backend is judged alike",
	},
	{[]string{"pkg/adapter/discovery", "pkg/adapter/resourcemetrics", "pkg/adapter/promadapter"}, []string{adapter + "provider", adapter + "apiserver"}, true,
		"targets, usage and formats of rules come before what is served"},
	{[]string{"pkg/adapter/apiserver", "pkg/adapter/resourcemetrics", "pkg/adapter/promadapter"}, []string{adapter + "discovery"}, true,
		"discovery is handed over as an interface"},
	{[]string{"pkg/adapter/provider", "pkg/adapter/apistatus"}, []string{adapter + "apiserver"}, true,
		"the server serves a provider, and not the reverse"},
	{[]string{"pkg/adapter/certificate"}, []string{adapter}, true,
		"certificates have nothing to do with metrics"},

	{[]string{"pkg/scaler/verify", "pkg/scaler/action", "pkg/scaler/webhook"}, []string{scaler + "hold", scaler + "rollout"}, true,
		"checks and actions know nothing of holds"},
	{[]string{"pkg/scaler/hold", "pkg/scaler/schedule"}, []string{"k8s.io/client-go/kubernetes"}, true,
		"what workloads should be is decided without asking a cluster"},
	{[]string{"pkg/scaler/rollout"}, []string{scaler + "event", scaler + "schedule"}, true,
		"a rollout is the same whoever asked for it"},
}

// harmless are exceptions: types behind the interfaces of promql and storage, without the database, and the syntax of templates, without their execution.
var harmless = []string{
	"text/template/parse",

	"github.com/prometheus/prometheus/tsdb/chunkenc", "github.com/prometheus/prometheus/tsdb/chunks",
	"github.com/prometheus/prometheus/tsdb/fileutil",
}

// listedPackage is a package as go list shows it.
type listedPackage struct {
	ImportPath    string
	Imports, Deps []string
}

// listPackages returns all packages of the main module, by import path.
func listPackages(t *testing.T) map[string]listedPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "-C", root, "list", "-json=ImportPath,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string]listedPackage{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// ownImports returns the imports of p and of the packages of this module that it depends on.
func ownImports(all map[string]listedPackage, p listedPackage) []string {
	found := slices.Clone(p.Imports)
	for _, d := range p.Deps {
		found = append(found, all[d].Imports...) // nothing for third-party packages
	}
	return found
}

// isBelow reports whether path is one of the prefixes or in a folder of one.
func isBelow(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		prefix = strings.TrimSuffix(prefix, "/")
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	})
}

func TestImports(t *testing.T) {
	t.Parallel()
	all := listPackages(t)
	for _, r := range importRules {
		for _, p := range all {
			if !isBelow(strings.TrimPrefix(p.ImportPath, module), r.from) {
				continue
			}
			reached := p.Deps
			if !r.deep {
				reached = ownImports(all, p)
			}
			for _, d := range reached {
				if isBelow(d, r.forbid) && !isBelow(d, harmless) && !isBelow(d, []string{p.ImportPath}) {
					t.Errorf("%s must not depend on %s: %s", p.ImportPath, d, r.reason)
					break // the rest of an avalanche says nothing new
				}
			}
		}
	}
}

// A rule about a package that was renamed would hold for ever.
func TestImportRulesNamePackages(t *testing.T) {
	t.Parallel()
	all := listPackages(t)
	for _, r := range importRules {
		for _, from := range r.from {
			if !hasPackage(all, from) {
				t.Errorf("a rule is about %s, which does not exist", from)
			}
		}
		for _, path := range r.forbid {
			if strings.HasPrefix(path, module) && path != module+"test" && !hasPackage(all, strings.TrimPrefix(path, module)) {
				t.Errorf("a rule forbids %s, which does not exist", path)
			}
		}
	}
}

func hasPackage(all map[string]listedPackage, prefix string) bool {
	for path := range all {
		if prefix == "" || isBelow(strings.TrimPrefix(path, module), []string{prefix}) {
			return true
		}
	}
	return false
}
