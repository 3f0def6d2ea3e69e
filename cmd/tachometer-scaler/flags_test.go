package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
)

// newKubeconfig writes a kubeconfig with one cluster, one user and one context of the same name, which is the current one.
func newKubeconfig(t *testing.T, name, server, namespace string) (file string) {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters[name] = &clientcmdapi.Cluster{Server: server}
	c.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: "token-of-" + name}
	c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name, Namespace: namespace}
	c.CurrentContext = name
	file = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestKubeconfigs: $KUBECONFIG may name several files, whose contexts are joined; --kubeconfig names one, and --context, -n and --as choose from it.
func TestKubeconfigs(t *testing.T) {
	first, second := newKubeconfig(t, "day", "https://day.example", "shop"), newKubeconfig(t, "night", "https://night.example", "")
	missing := filepath.Join(t.TempDir(), "missing")
	t.Setenv("KUBECONFIG", strings.Join([]string{missing, first, second}, string(os.PathListSeparator)))
	for name, c := range map[string]struct {
		flags                  scalerFlags
		host, namespace, token string
	}{
		"the current context of the first": {scalerFlags{}, "https://day.example", "shop", "token-of-day"},
		"a context of the second":          {scalerFlags{context: "night"}, "https://night.example", "default", "token-of-night"},
		"another namespace":                {scalerFlags{namespace: "cart"}, "https://day.example", "cart", "token-of-day"},
		"another user":                     {scalerFlags{as: "jane"}, "https://day.example", "shop", "token-of-day"},
		"one file":                         {scalerFlags{kubeconfig: second}, "https://night.example", "default", "token-of-night"},
		"one file, namespace":              {scalerFlags{kubeconfig: second, namespace: "cart"}, "https://night.example", "cart", "token-of-night"},
	} {
		config, namespace, err := c.flags.loadKubeconfig()
		if err != nil || config.Host != c.host || namespace != c.namespace || config.BearerToken != c.token || config.Impersonate.UserName != c.flags.as {
			t.Errorf("%s: %+v, namespace %q, %v", name, config, namespace, err)
		}
	}
	if _, _, err := (&scalerFlags{kubeconfig: second, context: "day"}).loadKubeconfig(); err == nil || !strings.Contains(err.Error(), `context "day" does not exist`) {
		t.Errorf("a context of another file: %v", err)
	}
}

// TestPreviewFromDay: --from takes a day or a time on the clocks of the schedule, as files do, and a moment.
func TestPreviewFromDay(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for from, begin := range map[string]time.Time{
		"2026-12-24":                time.Date(2026, 12, 24, 0, 0, 0, 0, berlin),
		"2026-12-24 12:00":          time.Date(2026, 12, 24, 12, 0, 0, 0, berlin),
		"2026-12-24T00:00:00+01:00": time.Date(2026, 12, 24, 0, 0, 0, 0, berlin),
		"2026-12-23T23:00:00Z":      time.Date(2026, 12, 24, 0, 0, 0, 0, berlin),
	} {
		out, code := runProgramWithArgs("schedule", "preview", "--config", "../../manifests/scaler/config.yaml", "--next", "1d", "--from", from)
		lines := strings.Split(out, "\n")
		if code != command.ExitDone || len(lines) < 3 || !strings.HasPrefix(lines[1], begin.In(berlin).Format("Mon 2006-01-02 15:04 -07:00")) || !strings.Contains(lines[1], "Europe/Berlin") {
			t.Errorf("--from %s: exit code %d\n%s", from, code, out)
		}
	}
}

// TestPreviewFromDayElsewhere: the clocks of the machine do not matter.
func TestPreviewFromDayElsewhere(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"America/New_York", "Pacific/Kiritimati"} {
		elsewhere := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPreviewFromDay$", "-test.v")
		elsewhere.Env = append(os.Environ(), "TZ="+zone)
		if out, err := elsewhere.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestPreviewFromDay ") {
			t.Errorf("%s: %v\n%s", zone, err, out)
		}
	}
}

// TestVersionFormats: version prints the same in each format.
func TestVersionFormats(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"auto": "dev\n", "text": "dev\n", "json": "{\n  \"version\": \"dev\"\n}\n", "yaml": "version: dev\n"} {
		if out, code := runProgramWithArgs("version", "-o", format); code != command.ExitDone || out != want {
			t.Errorf("-o %s: exit code %d, %q; want %q", format, code, out, want)
		}
	}
}

// TestCompletionScripts: each shell has a script, which bash, zsh and fish parse where they are installed. It asks the program for commands and flags.
func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		out, code := runProgramWithArgs("completion", shell)
		if code != command.ExitDone || !strings.Contains(out, "tachometer-scaler") || strings.Count(out, "\n") < 50 {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, len(out))
		}
		if _, err := exec.LookPath(shell); err != nil || shell == "powershell" {
			continue // its script is not parsed here
		}
		parse := exec.CommandContext(t.Context(), shell, "-n")
		parse.Stdin = strings.NewReader(out)
		if text, err := parse.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v: %s", shell, err, text)
		}
	}
	for args, want := range map[string]string{
		"": "approve", "se": "set", "set --rep": "--replicas", "status --all": "--all-namespaces", "schedule ": "preview", "completion ": "bash",
	} {
		words := strings.Split(args, " ")
		out, code := runProgramWithArgs(append([]string{"__complete"}, words...)...)
		if code != command.ExitDone || !strings.Contains("\n"+out, "\n"+want) {
			t.Errorf("completion of %q: exit code %d, no %s in\n%s", args, code, want, out)
		}
	}
}

// completeInBash completes the last word with the script that the command completion prints, and lists what bash would offer.
const completeInBash = `
_get_comp_words_by_ref() { cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD; } # of the package bash-completion
compopt() { :; } # only works while bash completes
source <(tachometer-scaler completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMP_TYPE=9
__start_tachometer-scaler
printf '%s\n' "${COMPREPLY[@]}"`

// TestCompletionInBash: bash completes commands, flags and subcommands with the script.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("SKIPPED: no bash: install it")
	}
	dir := t.TempDir()
	program, err := os.Executable()
	if err == nil {
		err = os.Symlink(program, filepath.Join(dir, "tachometer-scaler"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]string{"se": "set", "schedule ": "preview", "set --repl": "--replicas", "completion fi": "fish"} {
		args := append([]string{"-c", completeInBash, "bash", "tachometer-scaler"}, strings.Split(typed, " ")...)
		cmd := exec.CommandContext(t.Context(), bash, args...)
		cmd.Env = append(os.Environ(), asProgram+"=1", "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if first, _, _ := strings.Cut(string(out), "\n"); err != nil || strings.Fields(first + " -")[0] != want {
			t.Errorf("%q: %v, %q; want %s", typed, err, out, want)
		}
	}
}

// TestExitCodeOfFaults: a file with faults is exit code 1, a file that is missing exit code 2, and what the program prints goes to the two outputs.
func TestExitCodeOfFaults(t *testing.T) {
	t.Parallel()
	faulty := filepath.Join(t.TempDir(), "config.yaml")
	const text = "apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\nschedules:\n- {name: a, namespace: shop, workloads: [deploy/web], windows: [{start: \"08:00\", end: \"22:00\", minReplicas: 1e3}]}\n"
	if err := os.WriteFile(faulty, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args      []string
		code      int
		out, errs string
	}{
		"faults":  {[]string{"schedule", "preview", "--config", faulty}, command.ExitFailed, "", `minReplicas: must be a whole number, not "1e3"; write 1000`},
		"missing": {[]string{"schedule", "preview", "--config", faulty + "x"}, command.ExitUsage, "", "no such file"},
		"fine":    {[]string{"version"}, command.ExitDone, "dev\n", ""},
		"help":    {[]string{"set", "--help"}, command.ExitDone, "Exit codes:", ""},
	} {
		var out, errs bytes.Buffer
		code := executeProgram(c.args, &out, &errs)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errs) || (c.out == "") != (out.Len() == 0) || (c.errs == "") != (errs.Len() == 0) {
			t.Errorf("%s: exit code %d: %s, errors %s", name, code, &out, &errs)
		}
	}
}
