#!/bin/sh
# Fails, naming what is out of date, if a generated or formatted file differs from what its source gives.
set -eu
cd "$(dirname "$0")/.."
fail=0
say() { echo "verify: $1" >&2; fail=1; }

unformatted=$(gofmt -l cmd pkg test)
[ -z "$unformatted" ] || say "not gofmt-ed: $unformatted"
go mod tidy -diff >/dev/null || say "go.mod or go.sum: run 'go mod tidy'"
go -C test/cluster mod tidy -diff >/dev/null || say "test/cluster/go.mod: run 'go mod tidy' there"
golden=$(go test -count=1 $(grep -rl --include='*_test.go' '"update"' cmd pkg | xargs -n1 dirname | sort -u | sed 's|^|./|') 2>&1) || {
	echo "$golden" | grep -v '^ok' >&2
	say "golden files, unless the test above says otherwise: run 'make update' and read the difference"
}
[ "$fail" = 0 ] && echo "verify: all up to date"
exit "$fail"
