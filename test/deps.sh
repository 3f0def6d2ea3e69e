#!/bin/sh
# Installs the servers and tools that the tests run for real, or names those that are missing. A test that
# misses its server is skipped and says so.
set -eu
missing=
for pair in redis-server:redis-server prometheus:prometheus victoria-metrics:victoria-metrics buildah:buildah containerd:containerd runc:runc nft:nftables ip:iproute2 iptables:iptables ipset:ipset chromium:chromium; do
	PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -d /usr/lib/cni ] || [ -d /opt/cni/bin ] || missing="$missing containernetworking-plugins"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing:$missing"
	log=$(mktemp)
	# The tests start servers themselves: none that an installation starts shall take their ports or this machine's memory.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 ||
		{ cat "$log" >&2; echo "could not install:$missing" >&2; exit 1; }
	rm -f "$log"
else
	echo "missing, tests that need them are skipped; as root: apt-get install$missing"
fi
