#!/bin/sh
# Fuzzes every Fuzz function of the modules, one after the other, each for FUZZTIME (default 20s). Ends with 1 if one of them finds
# something; `go test` has then written the input to the package's testdata/fuzz, where it is a seed from then on. On a busy machine `go test`
# may fail with the end of the time itself ("context deadline exceeded") and no input: then the function has another turn.
# -fuzzminimizetime 1x leaves the time to new inputs: by default Go may spend 60s on shortening one long page.
set -u
cd "$(dirname "$0")/.." || exit 1
time=${FUZZTIME:-20s}
failed=0
count=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

fuzz() { # MODULE FOLDER NAME
	go -C "$1" test "$2" -vet=off -run '^$' -fuzz "^$3\$" -fuzztime "$time" -fuzzminimizetime 1x >"$output" 2>&1
	status=$?
	cat "$output"
	return $status
}

ended() { grep -q 'context deadline exceeded' "$output" && ! grep -q 'Failing input' "$output"; }

for module in . test test/harness/cluster; do
	for file in $(cd "$module" && grep -rl --include='*_test.go' '^func Fuzz' . | sort); do
		# A module within the folder of another one has its own turn.
		owner=$(cd "$module/$(dirname "$file")" && go list -m -f '{{.Dir}}')
		[ "$owner" = "$(cd "$module" && pwd)" ] || continue
		for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$module/$file"); do
			count=$((count + 1))
			echo "== $module/$(dirname "$file") $name"
			fuzz "$module" "./$(dirname "$file")" "$name" || { ended && fuzz "$module" "./$(dirname "$file")" "$name"; } ||
				{ failed=$((failed + 1)); echo "FAILED: $name" >&2; }
		done
	done
done
[ "$count" -gt 0 ] || { echo "no Fuzz function found" >&2; exit 1; }
echo "$count Fuzz functions, $failed failed"
[ "$failed" -eq 0 ]
