// Package arch asserts who may import whom: arrows point one way.
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

const module = "tachometer/"

// kubernetes are the modules that hold Kubernetes's types; klog, the logger, is none of them.
var kubernetes = []string{
	"k8s.io/api/", "k8s.io/apimachinery/", "k8s.io/apiserver/", "k8s.io/client-go/", "k8s.io/component-base/",
	"k8s.io/kube-aggregator/", "k8s.io/metrics/", "sigs.k8s.io/custom-metrics-apiserver/", "sigs.k8s.io/metrics-server/",
}

// clouds are the parts of Prometheus that bring the SDKs of three clouds, and a database on the disk.
var clouds = []string{
	"github.com/prometheus/prometheus/scrape", "github.com/prometheus/prometheus/discovery", "github.com/prometheus/prometheus/tsdb",
	"github.com/aws/", "github.com/Azure/", "cloud.google.com/",
}

// harmless are exceptions: types behind the interfaces of promql and storage, without the database.
var harmless = []string{
	"github.com/prometheus/prometheus/tsdb/chunkenc", "github.com/prometheus/prometheus/tsdb/chunks",
	"github.com/prometheus/prometheus/tsdb/fileutil",
}

// rule forbids packages to import others.
type rule struct {
	from   []string // packages, by prefix below the module
	forbid []string // packages, by prefix
	deep   bool     // also what other people's packages import on the way; else what ours do
	reason string
}

var rules = []rule{
	{[]string{"pkg/metric"}, []string{"tachometer/", "k8s.io/", "sigs.k8s.io/", "github.com/", "golang.org/", "go.uber.org/"}, true,
		"everyone shares the vocabulary, so it costs nothing: standard library only"},
	{[]string{"pkg/window"}, []string{"tachometer/", "k8s.io/", "sigs.k8s.io/", "github.com/", "golang.org/", "go.uber.org/"}, true,
		"a formula over numbers, to be read and tested by itself: standard library only"},
	{[]string{"pkg/scrape"}, []string{"tachometer/pkg/store", "tachometer/pkg/query", "tachometer/pkg/prometheus", "tachometer/pkg/rule"}, true,
		"who writes samples does not know who keeps or reads them: they meet in cmd"},
	{[]string{"pkg/store"}, []string{"tachometer/pkg/scrape", "tachometer/pkg/query", "tachometer/pkg/prometheus", "tachometer/pkg/rule"}, true,
		"the store keeps samples of whatever origin for whatever question"},
	{[]string{"pkg/query"}, []string{"tachometer/pkg/scrape", "tachometer/pkg/store", "tachometer/pkg/prometheus"}, true,
		"the engine reads any storage.Queryable"},
	{[]string{"pkg/prometheus"}, []string{"tachometer/pkg/scrape", "tachometer/pkg/store", "tachometer/pkg/query"}, true,
		"a remote backend needs nothing of the embedded one"},
	{[]string{"pkg/scrape", "pkg/store", "pkg/query", "pkg/rule", "pkg/config", "pkg/exposition", "pkg/prometheus", "pkg/metric"}, kubernetes, false,
		"the way of the data can be understood, tested and used without Kubernetes"},
	{[]string{"pkg/promadapter"}, append([]string{"tachometer/pkg/provider", "tachometer/pkg/discovery", "tachometer/pkg/prometheus"}, kubernetes...), false,
		"another format of rules: what knows the cluster and the server is handed to it"},
	{[]string{"pkg/resource"}, []string{
		"tachometer/pkg/scrape", "tachometer/pkg/store", "tachometer/pkg/query", "tachometer/pkg/prometheus", "tachometer/pkg/provider",
		"tachometer/pkg/apiserver", "tachometer/pkg/discovery",
	}, true, "usage comes from kubelets or over an interface, whatever stands behind it"},
	{[]string{"pkg/discovery"}, []string{"tachometer/pkg/scrape", "tachometer/pkg/store", "tachometer/pkg/query", "tachometer/pkg/provider", "tachometer/pkg/apiserver"}, true,
		"discovery knows the cluster; what is done with targets is not its business"},
	{[]string{"pkg/provider"}, []string{"tachometer/pkg/scrape", "tachometer/pkg/store", "tachometer/pkg/query", "tachometer/pkg/apiserver"}, true,
		"answers are decided over interfaces, so that every backend is judged alike"},
	{[]string{"pkg/apiserver"}, []string{"tachometer/pkg/scrape", "tachometer/pkg/store", "tachometer/pkg/query", "tachometer/pkg/discovery"}, true,
		"the server serves a provider and knows nothing of where numbers come from"},
	{[]string{"pkg/apistatus"}, []string{"tachometer/pkg/provider", "tachometer/pkg/resource", "tachometer/pkg/apiserver"}, true,
		"every API of the adapter says errors in the same way"},
	{[]string{"pkg/strict"}, append([]string{"tachometer/"}, kubernetes...), true,
		"a file is read in the same way whatever it configures"},
	{[]string{"pkg/scaler", "cmd/scaler"}, []string{
		"tachometer/pkg/scrape", "tachometer/pkg/store", "tachometer/pkg/query", "tachometer/pkg/prometheus", "tachometer/pkg/provider",
		"tachometer/pkg/apiserver", "tachometer/pkg/discovery", "tachometer/pkg/rule", "tachometer/pkg/metric",
	}, true, "the one component that writes to the cluster is a program of its own, with rights of its own"},
	{[]string{"pkg/scaler/verify", "pkg/scaler/gate"}, []string{"tachometer/pkg/scaler/hold", "tachometer/pkg/scaler/rollout"}, true,
		"what a hold carries knows nothing of holds"},
	{[]string{"pkg/scaler/hold", "pkg/scaler/schedule"}, []string{"k8s.io/client-go/kubernetes"}, true,
		"what is wanted of targets is decided without asking a cluster"},
	{[]string{"pkg/scaler/rollout"}, []string{"tachometer/pkg/scaler/event", "tachometer/pkg/scaler/schedule"}, true,
		"a target is taken on whoever held it"},
	{[]string{"cmd/adapter"}, []string{"tachometer/pkg/scaler"}, true,
		"the adapter only reads the cluster"},
	{[]string{"pkg/certificate"}, []string{"tachometer/"}, true,
		"certificates have nothing to do with metrics"},
	{[]string{"pkg/sample", "cmd/sample"}, append([]string{"tachometer/pkg/config", "tachometer/pkg/provider", "k8s.io/"}, kubernetes...), true,
		"the sample is a service like any other: it gets no help from the platform"},
	{[]string{"cmd/"}, clouds, true,
		"these drag in three clouds' SDKs, with their size and their faults"},
	{[]string{"cmd/"}, []string{"tachometer/test/", "testing", "github.com/google/go-cmp"}, true,
		"test code stays out of the programs"},
	{[]string{"pkg/"}, []string{"tachometer/cmd/"}, true,
		"programs use packages, never the other way round"},
}

// listed is a package as go list shows it.
type listed struct {
	ImportPath    string
	Imports, Deps []string
}

// ours are all packages of this module.
func ours(t *testing.T) map[string]listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string]listed{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// imports are what p and those of our packages that it depends on import.
func imports(all map[string]listed, p listed) []string {
	found := slices.Clone(p.Imports)
	for _, d := range p.Deps {
		found = append(found, all[d].Imports...) // nothing for packages of others
	}
	return found
}

func below(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return path == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
	})
}

func TestArrowsPointOneWay(t *testing.T) {
	t.Parallel()
	all := ours(t)
	for _, r := range rules {
		for _, p := range all {
			if !below(strings.TrimPrefix(p.ImportPath, module), r.from) {
				continue
			}
			reached := p.Deps
			if !r.deep {
				reached = imports(all, p)
			}
			for _, d := range reached {
				if below(d, r.forbid) && !below(d, harmless) && !below(d, []string{p.ImportPath}) {
					t.Errorf("%s must not depend on %s: %s", p.ImportPath, d, r.reason)
					break // the rest of an avalanche says nothing new
				}
			}
		}
	}
}

// A rule about a package that was renamed would hold for ever.
func TestRulesAreAboutPackagesThatExist(t *testing.T) {
	t.Parallel()
	all := ours(t)
	for _, r := range rules {
		for _, from := range r.from {
			found := false
			for path := range all {
				found = found || below(strings.TrimPrefix(path, module), []string{from})
			}
			if !found {
				t.Errorf("a rule is about %s, which does not exist", from)
			}
		}
	}
}
