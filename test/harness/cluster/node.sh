# Runs first in the node's own namespaces (mounts, network, processes), before any component. Nothing done here is seen
# outside, and all of it ends with the namespaces. The harness puts the variables cluster, node_ip, host_ip and services before.

# Mounts made here stay here.
mount --make-rprivate /
mount -t proc proc /proc

# Components use the usual paths. /run and /var are covered, so that a node leaves nothing in this machine's own.
# The cluster's folder may itself lie below one of them: it is held elsewhere meanwhile.
mount --bind "$cluster" /mnt
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/var/upper /run/var/work /run/sysctl
mount -t overlay overlay -o lowerdir=/var,upperdir=/run/var/upper,workdir=/run/var/work /var
mkdir -p "$cluster"
mount --bind /mnt "$cluster"
umount /mnt

cover() { # FOLDER-OF-THE-CLUSTER PATH
	mkdir -p "$2"
	mount --bind "$cluster/$1" "$2"
}
cover kubelet /var/lib/kubelet
cover containerd /var/lib/containerd
cover pod-logs /var/log/pods
cover container-logs /var/log/containers

# kubelet sets these, and they are the whole machine's: let it find what it wants without changing anything.
pretend() { # SETTING VALUE
	file=/run/sysctl/$(echo "$1" | tr / -)
	echo "$2" >"$file"
	if [ -e "/proc/sys/$1" ]; then mount --bind "$file" "/proc/sys/$1"; fi
}
pretend vm/overcommit_memory 1
pretend vm/panic_on_oom 0
pretend kernel/panic 10
pretend kernel/panic_on_oops 1
pretend kernel/keys/root_maxkeys 1000000
pretend kernel/keys/root_maxbytes 25000000

# The line to this machine. There is no default route: traffic goes to the cluster and to this machine, nowhere else.
ip link set lo up
ip address add "$node_ip/30" dev eth0
ip link set eth0 up
ip route add "$services" via "$host_ip"
echo 1 >/proc/sys/net/ipv4/ip_forward

# From now on mounts spread to the node's containers that ask for it. Not earlier: what is bound above would mirror itself.
mount --make-rshared /

# Every hierarchy gets a group of the cluster's own, where kubelet puts its pods.
for group in /sys/fs/cgroup /sys/fs/cgroup/*; do
	if [ -e "$group/cgroup.procs" ]; then mkdir -p "$group/$cgroup"; fi
done
