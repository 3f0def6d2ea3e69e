//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestHelpNamesEveryCommand(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := runClusterCommand(t.Context(), nil, &out); err != nil {
		t.Fatal(err)
	}
	for name := range clusterCommands() {
		if !strings.Contains(out.String(), "\n  cluster "+name+" ") {
			t.Errorf("help lacks %q", name)
		}
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no such command":   {args: []string{"upp"}, want: `no command "upp"`},
		"no such cluster":   {args: []string{"env", "--dir", t.TempDir()}, want: "open cluster tachometer: file does not exist"},
		"bad name":          {args: []string{"up", "--name", "../x"}, want: "cluster name"},
		"image without tag": {args: []string{"build-image"}, want: "--tag and --output are required"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := runClusterCommand(t.Context(), tt.args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestUpEnvDown runs the commands of a user; the cluster outlives the command that started it.
func TestUpEnvDown(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes seconds; run without -short")
	}
	t.Parallel()
	dir := t.TempDir()
	program := dir + "/cluster"
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	command := func(line string) string {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/bin/sh", "-ec", line)
		cmd.Env = append(os.Environ(), "cluster="+program, "at=--dir="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	defer command(`"$cluster" down "$at"`) // also if the cluster is already gone
	command(`"$cluster" up "$at"`)
	if got := command(`eval "$("$cluster" env "$at")"; kubectl get namespace default -o name`); got != "namespace/default\n" {
		t.Errorf("kubectl: got %q", got)
	}
	if got := command(`"$cluster" status "$at"`); !strings.Contains(got, "kube-apiserver") {
		t.Errorf("status: got %q", got)
	}
	command(`"$cluster" down "$at"`)
	if _, err := os.Stat(dir + "/tachometer"); !os.IsNotExist(err) {
		t.Errorf("the folder after down: %v", err)
	}
}
