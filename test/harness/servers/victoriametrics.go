package servers

import "testing"

// VictoriaMetrics starts a single-node VictoriaMetrics and waits until it is ready. It skips the test if VictoriaMetrics is not
// installed. By default it evaluates queries about the last 30 s as of 30 s ago, unless they have nocache=1.
func VictoriaMetrics(t testing.TB, opts Options) *Server {
	t.Helper()
	return startTestServer(t, kind{
		name: "VictoriaMetrics", program: "victoria-metrics", install: "apt-get install victoria-metrics", ready: "/health",
		flush: "/internal/force_flush",
		args: func(address, dir string) []string {
			return []string{
				"-httpListenAddr=" + address, "-storageDataPath=" + dir + "/data", "-loggerLevel=WARN",
				"-memory.allowedBytes=128MB", // bounds its caches, which otherwise take most of the memory
			}
		},
	}, opts)
}
