package servers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Prometheus starts a Prometheus and waits until it is ready. It skips the test if Prometheus is not installed.
func Prometheus(t testing.TB, opts Options) *Server {
	t.Helper()
	config := writePrometheusConfig(t, opts)
	return startTestServer(t, kind{
		name: "Prometheus", program: "prometheus", install: "apt-get install prometheus", ready: "/-/ready",
		args: func(address, dir string) []string {
			return []string{
				"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address,
				"--web.enable-remote-write-receiver", "--log.level=warn",
			}
		},
	}, opts)
}

// writePrometheusConfig writes the configuration file.
func writePrometheusConfig(t testing.TB, opts Options) string {
	t.Helper()
	text := opts.Config
	if text == nil {
		var err error
		if text, err = formatPrometheusConfig(opts); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// formatPrometheusConfig returns a configuration that scrapes the targets. It is JSON, which is YAML too.
func formatPrometheusConfig(opts Options) ([]byte, error) {
	type object map[string]any
	if opts.Interval == 0 {
		opts.Interval = time.Second
	}
	groups := []object{}
	for _, target := range opts.Targets {
		groups = append(groups, object{"targets": []string{target.Address}, "labels": target.Labels})
	}
	return json.Marshal(object{
		"global":         object{"scrape_interval": opts.Interval.String(), "scrape_timeout": opts.Interval.String()},
		"scrape_configs": []object{{"job_name": "test", "static_configs": groups}},
	})
}
