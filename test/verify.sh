#!/bin/sh
# Fails, naming what is out of date, if a generated or formatted file differs from what its source gives.
set -eu
cd "$(dirname "$0")/.."
fail=0
report() { echo "verify: $1" >&2; fail=1; }

unformatted=$(gofmt -l cmd pkg test)
[ -z "$unformatted" ] || report "not gofmt-ed: $unformatted"
for module in . test test/harness/cluster test/harness/cluster/policyengine test/helm test/monitoring test/release test/dashboard; do
	go -C "$module" mod tidy -diff >/dev/null || report "$module/go.mod or go.sum: run 'go mod tidy' there"
done
for file in go.mod kubernetes-1.37.mod; do
	go -C test/hpa mod tidy -diff -modfile="$file" >/dev/null || report "test/hpa/$file: run 'go mod tidy -modfile=$file' there"
done
go -C test test -count=1 -run 'TestAddresses|TestNoReplace' ./arch >/dev/null || report "addresses: run 'go -C test test ./arch' and read what it says"
go -C test/dashboard test -count=1 -run TestScreenshotsAreFresh . >/dev/null || report "docs/dashboard-*.png: run 'make update-screenshots', and look at them"
go -C test test -count=1 -run TestDocumentedPictures ./harness/timeline >/dev/null || report "docs/*.svg: draw them again, or take over style and paper of test/harness/timeline/svg.go"
go -C test/monitoring test -count=1 -run 'TestDashboards|TestChartFiles' . >/dev/null || report "manifests/monitoring/dashboards and the charts' copies: run 'make update' and read the difference"
go -C test/helm test -count=1 -run TestReadme . >/dev/null || report "manifests/helm/*/README.md: run 'make update' and read the difference"
golden=$(go test -count=1 $(grep -rl --include='*_test.go' 'pkg/golden"' cmd pkg | xargs -n1 dirname | sort -u | sed 's|^|./|') 2>&1) || {
	echo "$golden" | grep -v '^ok' >&2
	report "golden files, unless the test above says otherwise: run 'make update' and read the difference"
}
[ "$fail" = 0 ] && echo "verify: all up to date"
exit "$fail"
