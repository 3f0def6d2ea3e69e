//go:build unix

package process

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestKill(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id := Identify(cmd.Process.Pid)
	if !id.Alive() {
		t.Fatal("a process that runs is not alive")
	}
	other := ID{PID: id.PID, Start: id.Start + "0"}
	if err := other.Kill(t.Context()); err != nil || !id.Alive() {
		t.Errorf("killing an earlier process of that number: %v, alive %t; want it left alone", err, id.Alive())
	}
	if err := id.Kill(t.Context()); err != nil { // returns before any parent has waited for the process
		t.Fatal(err)
	}
	if id.Alive() {
		t.Error("a process that was killed is alive")
	}
	_ = cmd.Wait()
	if err := id.Kill(t.Context()); err != nil {
		t.Errorf("kill again: %v", err)
	}
	if (ID{}).Alive() || !Identify(os.Getpid()).Alive() {
		t.Error("no process is alive, or this one is not")
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	rest := strings.Repeat(" 1", 18) + " 4711 9 9"
	for _, tt := range []struct {
		name, stat, start string
		ok                bool
	}{
		{name: "runs", stat: "7 (kube) S" + rest, start: "4711", ok: true},
		{name: "name with parentheses", stat: "7 (a) Z (b) R" + rest, start: "4711", ok: true},
		{name: "ended", stat: "7 (kube) Z" + rest},
		{name: "short", stat: "7 (kube) S 1 2"},
		{name: "empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if start, ok := parseProcessStat(tt.stat); start != tt.start || ok != tt.ok {
				t.Errorf("got %q, %t; want %q, %t", start, ok, tt.start, tt.ok)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("7 (kube) S" + strings.Repeat(" 1", 18) + " 4711 9 9")
	f.Add(")")
	f.Fuzz(func(t *testing.T, stat string) {
		if start, ok := parseProcessStat(stat); ok != (start != "") {
			t.Errorf("%q: got %q, %t", stat, start, ok)
		}
	})
}
