package resourcemetrics

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// decodePage parses a page like kubeletReader.
func decodePage(body string, now time.Time) (kubeletPage, error) {
	p := exposition.NewParser(labels.EmptyLabels())
	result, err := p.Parse(exposition.PageOptions{Families: listKubeletFamilies(), MaxBytes: 1 << 20, MaxLabels: maxPageLabels, MaxSamples: maxPageSamples, Now: now, AllFamilies: true}, []byte(body))
	if err != nil {
		return kubeletPage{}, err
	}
	return newKubeletPage(result.Samples)
}

func TestPageOfKubelet(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/kubelet-1.36.prom")
	if err != nil {
		t.Fatal(err)
	}
	p, err := decodePage(string(body), time.Unix(1795372000, 0))
	if err != nil {
		t.Fatal(err)
	}
	if p.node.cpu < 1000 || p.node.memory < 1e9 || p.node.cpuTime.IsZero() {
		t.Errorf("node %+v", p.node)
	}
	names := map[string]int{}
	for c, r := range p.containers {
		names[c.pod.Namespace+"/"+c.name]++
		if r.cpu <= 0 || r.memory <= 0 || r.started.IsZero() || !r.cpuTime.After(r.started) || !r.memoryTime.Equal(r.cpuTime) {
			t.Errorf("%v: %+v", c, r)
		}
	}
	if diff := cmp.Diff(map[string]int{"default/pause": 2, "tachometer-sample/sample": 2}, names); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	const labels = `{container="c",namespace="n",pod="p"} `
	now := time.UnixMilli(1_900_000_000_000)
	earlier := now.Add(-5 * time.Second)
	the := containerID{metric.Object{Namespace: "n", Name: "p"}, "c"}
	of := func(r usageReading) kubeletPage { return kubeletPage{containers: map[containerID]usageReading{the: r}} }
	for name, tc := range map[string]struct {
		body string
		want kubeletPage
		err  string
	}{
		"all": {
			containerCPU + labels + "1.5 1899999995000\n" + containerMemory + labels + "2e6 1899999995000\n" + containerStart + labels + "1899999000.5\n",
			of(usageReading{1.5, earlier, 2e6, earlier, time.UnixMilli(1899999000500)}), "",
		},
		"no timestamps":     {containerCPU + labels + "1.5\n" + containerMemory + labels + "2\n", of(usageReading{cpu: 1.5, cpuTime: now, memory: 2, memoryTime: now}), ""},
		"not measured":      {containerCPU + labels + "0\n" + containerMemory + labels + "0\n", of(usageReading{}), ""},
		"not a number":      {containerCPU + labels + "NaN\n" + containerStart + labels + "NaN\n", of(usageReading{}), ""},
		"only started":      {containerStart + labels + "1899999000\n", of(usageReading{started: time.Unix(1899999000, 0)}), ""},
		"node":              {nodeCPU + " 7\n" + nodeMemory + " 8\n", kubeletPage{node: usageReading{cpu: 7, cpuTime: now, memory: 8, memoryTime: now}, containers: map[containerID]usageReading{}}, ""},
		"other families":    {"go_goroutines 5\npod_cpu_usage_seconds_total{pod=\"p\"} 3\n", kubeletPage{containers: map[containerID]usageReading{}}, ""},
		"empty":             {"", kubeletPage{containers: map[containerID]usageReading{}}, ""},
		"said to be broken": {pageError + " 1\n" + containerCPU + labels + "1\n", kubeletPage{}, errIncomplete.Error()},
		"so in old words":   {oldPageError + " 1\n", kubeletPage{}, errIncomplete.Error()},
		"truncated":         {containerCPU + labels + "1", kubeletPage{}, "truncated"},
		"duplicate":         {containerCPU + labels + "1\n" + containerCPU + labels + "2\n", kubeletPage{}, "duplicate"},
		"from the future":   {containerCPU + labels + "1 1900000061000\n", kubeletPage{}, "future"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := decodePage(tc.body, now)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("error %v, want one about %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(kubeletPage{}, usageReading{}, containerID{})); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
		})
	}
}

// After any two pages, a usage is a finite, non-negative CPU over a window within the limits, or absent.
func FuzzPages(f *testing.F) {
	const labels = `{container="c",namespace="n",pod="p"} `
	f.Add(containerCPU+labels+"1.5 1899999980000\n"+containerMemory+labels+"2e6 1899999980000\n",
		containerCPU+labels+"2.5 1899999995000\n"+containerMemory+labels+"2e6 1899999995000\n")
	f.Add(containerCPU+labels+"1\n", containerStart+labels+"1e300\n"+containerCPU+labels+"+Inf\n")
	f.Add(nodeCPU+" 7 1899999980000\n"+nodeMemory+" 8\n", nodeCPU+" 9 1899999995000\n"+nodeMemory+" 8\n")
	if body, err := os.ReadFile("testdata/kubelet-1.36.prom"); err == nil {
		f.Add(string(body), string(body))
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		now := time.Unix(1_900_000_000, 0)
		histories := map[containerID]usageHistory{}
		for _, body := range []string{first, second} {
			p, err := decodePage(body, now)
			var rejected *exposition.Error
			if err != nil {
				if !errors.As(err, &rejected) && !errors.Is(err, errIncomplete) {
					t.Fatalf("an error of no kind: %v", err)
				}
				continue
			}
			p.containers[containerID{}] = p.node
			for c, r := range p.containers {
				histories[c] = histories[c].addContainerReading(r, testLimits)
			}
		}
		for _, h := range histories {
			u, s, reason := h.computeContainerUsage(testLimits)
			if reason != "" {
				continue
			}
			if u.CPU < 0 || s.window < testLimits.minWindow || s.window > testLimits.maxGap || s.time.IsZero() {
				t.Errorf("usage %+v over %v", u, s)
			}
			list, why := u.toResourceList()
			if why == "" && (list.Cpu().Sign() < 0 || list.Memory().MilliValue() < 0) {
				t.Errorf("quantities %v", list)
			}
		}
	})
}
