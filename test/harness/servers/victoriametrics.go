package servers

import "testing"

// VictoriaMetrics starts a single-node VictoriaMetrics and waits until it can be asked, or skips the test where it is not
// installed. As shipped, it answers queries about the last 30 s as of 30 s ago unless they carry nocache=1.
func VictoriaMetrics(t testing.TB, opts Options) *Server {
	t.Helper()
	return startTestServer(t, kind{
		name: "VictoriaMetrics", program: "victoria-metrics", install: "apt-get install victoria-metrics", ready: "/health",
		flush: "/internal/force_flush",
		args: func(address, dir string) []string {
			return []string{
				"-httpListenAddr=" + address, "-storageDataPath=" + dir + "/data", "-loggerLevel=WARN",
				"-memory.allowedBytes=128MB", // of its caches; by itself it takes what it can get
			}
		},
	}, opts)
}
