package inventory

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// namedAutoscaler is the manifest of an autoscaler with a name.
func namedAutoscaler(name string) string {
	return "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: " + name + "}\nspec: {scaleTargetRef: {name: w}, maxReplicas: 3}\n"
}

// writeTestTree writes files into a new folder, with the folders in it.
func writeTestTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func listAutoscalerNames(i *Inventory) string {
	var names []string
	for _, h := range i.HPAs {
		names = append(names, h.Name)
	}
	return strings.Join(names, " ")
}

// TestPaths: a path names what kubectl's -f takes.
func TestPaths(t *testing.T) {
	t.Parallel()
	root := writeTestTree(t, map[string]string{
		"a.yaml": namedAutoscaler("a"), "b.yaml": namedAutoscaler("b"), "deep/c.yaml": namedAutoscaler("c"), "[x].yaml": namedAutoscaler("x"),
		"base/kustomization.yaml": "resources: [d.yaml]\n", "base/d.yaml": namedAutoscaler("d"), "over/Kustomization": "resources: [../base]\n",
	})
	for name, tc := range map[string]struct {
		paths  []string
		isFlat bool
		want   string
		err    string // a part
	}{
		"a folder":                          {[]string{""}, false, "a b c d x", ""},
		"a folder without those in it":      {[]string{""}, true, "a b x", ""},
		"two files":                         {[]string{"a.yaml", "b.yaml"}, false, "a b", ""},
		"a pattern":                         {[]string{"?.yaml"}, false, "a b", ""},
		"a pattern of folders":              {[]string{"d*"}, false, "c", ""},
		"a name that looks like a pattern":  {[]string{"[x].yaml"}, false, "x", ""},
		"a pattern of nothing":              {[]string{"*.json"}, false, "", "no such file"},
		"standard input and a file":         {[]string{"-", "a.yaml"}, false, "a s", ""},
		"a folder of kustomize":             {[]string{"base"}, false, "", "kubectl kustomize ROOT/base | kubectl tachometer lint -f -"},
		"a folder of kustomize by its file": {[]string{"base/kustomization.yaml"}, false, "", "kubectl kustomize ROOT/base | kubectl tachometer lint -f -"},
		"kustomize's third name":            {[]string{"a.yaml", "over"}, false, "a", "ROOT/over is a folder of kustomize"},
		"a folder over http":                {[]string{"http://127.0.0.1/a.yaml"}, false, "", "http://127.0.0.1/a.yaml is read over https alone"},
		"a secret over http":                {[]string{"http://me:secret@127.0.0.1/a.yaml"}, false, "", "http://me:xxxxx@127.0.0.1/a.yaml is read over https alone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var paths []string
			for _, p := range tc.paths {
				if p != "-" && !strings.Contains(p, "://") {
					p = filepath.Join(root, p)
				}
				paths = append(paths, p)
			}
			i, err := ReadFiles(t.Context(), paths, FileOptions{In: strings.NewReader(namedAutoscaler("s")), Namespace: "default", IsFlat: tc.isFlat})
			if got := listAutoscalerNames(i); got != tc.want {
				t.Errorf("autoscalers %q, want %q", got, tc.want)
			}
			want := strings.ReplaceAll(tc.err, "ROOT", root)
			if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

// TestURLs: an https URL is read by GET, within bounds, and never over http.
func TestURLs(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a.yaml":
			if r.Method == http.MethodGet {
				_, _ = w.Write([]byte(namedAutoscaler("a")))
			}
		case "/moved.yaml":
			http.Redirect(w, r, "/a.yaml", http.StatusFound)
		case "/downgraded.yaml":
			http.Redirect(w, r, "http://"+r.Host+"/a.yaml", http.StatusFound)
		case "/loop.yaml":
			http.Redirect(w, r, "/loop.yaml", http.StatusFound)
		case "/large.yaml":
			_, _ = w.Write(make([]byte, maxURLBytes+1))
		case "/text.yaml":
			_, _ = w.Write([]byte("<html>: ["))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	for path, want := range map[string]string{
		"a.yaml": "", "moved.yaml": "", "a.yaml?ref=main#top": "", "gone.yaml": "the server answers 404 Not Found", "downgraded.yaml": "it redirects to http://", "loop.yaml": "it redirects to ",
		"large.yaml": "the answer is above 16 MiB", "text.yaml": "document 1: ",
	} {
		i, err := ReadFiles(t.Context(), []string{server.URL + "/" + path}, FileOptions{Namespace: "default", Client: server.Client()})
		switch {
		case want == "" && (err != nil || listAutoscalerNames(i) != "a"):
			t.Errorf("%s: autoscalers %q, %v", path, listAutoscalerNames(i), err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), server.URL+"/"+path) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
	if _, err := ReadFiles(t.Context(), []string{server.URL + "/a.yaml"}, FileOptions{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server with an unknown certificate: %v", err)
	}
}

// TestDuplicateKeys: a key that is there twice has its line in the file, in each form of a document.
func TestDuplicateKeys(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\n"
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"none":                         {head + "spec: {a: 1, b: 2}\n", nil},
		"in a block":                   {head + "spec:\n  maxReplicas: 3\n  minReplicas: 1\n  maxReplicas: 5\n", []string{"6 4 spec.maxReplicas"}},
		"in one line":                  {head + "spec: {maxReplicas: 3, maxReplicas: 5}\n", []string{"3 3 spec.maxReplicas"}},
		"three times":                  {head + "spec:\n  a: 1\n  a: 2\n  a: 3\n", []string{"5 4 spec.a", "6 4 spec.a"}},
		"in a list":                    {head + "spec:\n  metrics:\n  - type: Pods\n    type: Object\n", []string{"6 5 spec.metrics[0].type"}},
		"in the second document":       {head + "---\n# words\n" + head + "spec: {}\nspec: {}\n", []string{"8 7 spec"}},
		"beside the mark":              {head + "--- {kind: Service, kind: Pod}\n", []string{"3 3 kind"}},
		"after a directive":            {"%YAML 1.2\n---\n" + head + "spec: 1\nspec: 2\n", []string{"6 5 spec"}},
		"after line ends of Windows":   {strings.ReplaceAll(head+"---\n"+head+"spec: 1\nspec: 2\n", "\n", "\r\n"), []string{"7 6 spec"}},
		"quoted once":                  {head + "spec: 1\n\"spec\": 2\n", []string{"4 3 spec"}},
		"in JSON":                      {"{\"kind\": \"Pod\",\n\"spec\": 1,\n\"spec\": 2}\n", []string{"3 2 spec"}},
		"in the second JSON":           {"{\"kind\": \"Pod\"}\n\n{\"kind\": \"Pod\",\n\"spec\": 1, \"spec\": 2}\n", []string{"4 4 spec"}},
		"in an item of a List":         {"kind: List\nitems:\n- kind: Pod\n  kind: Service\n", []string{"4 3 items[0].kind"}},
		"in an anchor that is used":    {head + "x: &x {a: 1, a: 2}\ny: *x\n", []string{"3 3 x.a"}},
		"two merges":                   {head + "x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x\n", nil},
		"one key in two mappings":      {head + "x: {a: 1}\ny: {a: 1}\n", nil},
		"in a file that is none":       {"services: {web: 1, web: 2}\n", nil},
		"in a block of text":           {"kind: ConfigMap\ndata:\n  x: |\n    a: 1\n    a: 2\n", nil},
		"in a template that is broken": {"kind: Pod\nspec: {{ x }}\nspec: [\n", nil},
	} {
		i, _ := ReadFiles(t.Context(), []string{"-"}, FileOptions{In: strings.NewReader(tc.text)})
		var got []string
		for _, k := range i.DuplicateKeys {
			got = append(got, fmt.Sprintf("%d %d %s", k.Line, k.First, k.Path))
			if k.File != "standard input" {
				t.Errorf("%s: file %q", name, k.File)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestMissingQuotes: the error for a word that YAML takes for another type says how to write it.
func TestMissingQuotes(t *testing.T) {
	t.Parallel()
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec: {selector: {}, template: {metadata: {annotations: {prometheus.io/%s}}}}\n"
	for text, isHinted := range map[string]bool{
		fmt.Sprintf(deployment, "scrape: true"): true, fmt.Sprintf(deployment, "port: 8080"): true,
		"apiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nspec: {updatePolicy: {updateMode: Off}}\n":                            true,
		"apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nspec: {scaleTargetRef: {name: w}, maxReplicas: many}": false,
	} {
		_, err := ReadFiles(t.Context(), []string{"-"}, FileOptions{In: strings.NewReader(text)})
		if err == nil || strings.HasSuffix(err.Error(), `; quote the value: "true", "8080"`) != isHinted {
			t.Errorf("%q: error %v", text, err)
		}
	}
	i, err := ReadFiles(t.Context(), []string{"-"}, FileOptions{In: strings.NewReader(fmt.Sprintf(deployment, `scrape: "true"`))})
	if err != nil || i.Workloads[0].Template.Annotations[podpage.AnnotationScrape] != "true" {
		t.Errorf("quoted: %v", err)
	}
}

// verticalReader answers reads of VerticalPodAutoscalers.
type verticalReader map[string]error

func (r verticalReader) Read(_ context.Context, path string) ([]byte, error) {
	if err := r[path]; err != nil {
		return nil, err
	}
	return []byte(`{"items":[{"metadata":{"namespace":"shop","name":"v"},"spec":{"targetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}}}]}`), nil
}

// TestAddVerticalAutoscalers: a cluster without the kind has nothing unread; a missing right is said.
func TestAddVerticalAutoscalers(t *testing.T) {
	t.Parallel()
	const path = verticalGroupPath + "/v1/namespaces/shop/verticalpodautoscalers"
	group := schema.GroupResource{Group: "autoscaling.k8s.io", Resource: "verticalpodautoscalers"}
	for name, tc := range map[string]struct {
		reader        verticalReader
		found, unread int
	}{
		"some":         {verticalReader{}, 1, 0},
		"no such kind": {verticalReader{verticalGroupPath: apierrors.NewNotFound(group, ""), path: apierrors.NewForbidden(group, "", nil)}, 0, 0},
		"no right":     {verticalReader{path: apierrors.NewForbidden(group, "", nil)}, 0, 1},
	} {
		i := &Inventory{}
		i.AddVerticalAutoscalers(t.Context(), tc.reader, "shop")
		if len(i.VerticalAutoscalers) != tc.found || len(i.Unread) != tc.unread {
			t.Errorf("%s: %d found, unread %v", name, len(i.VerticalAutoscalers), i.Unread)
		}
	}
}
