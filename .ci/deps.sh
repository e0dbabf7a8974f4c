#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: Debian packages, a Node,
# the npm packages of the end-to-end tests, and the S3 servers. It changes
# nothing that is there, and fails when something is still missing at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. .ci/env.sh

# Each line: a Debian package, and what shows that it is not needed any more.
needs() {
	cat <<-'LIST'
		ffmpeg command -v ffmpeg && command -v ffprobe
		chromium command -v chromium
		fonts-dejavu-core test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
		gstreamer1.0-tools command -v gst-launch-1.0
		gstreamer1.0-plugins-base gst-inspect-1.0 --exists videotestsrc
		gstreamer1.0-plugins-good gst-inspect-1.0 --exists rtph264pay
		gstreamer1.0-plugins-bad gst-inspect-1.0 --exists h264parse
		gstreamer1.0-plugins-ugly gst-inspect-1.0 --exists x264enc
		gstreamer1.0-rtsp gst-inspect-1.0 --exists rtspclientsink
		gstreamer1.0-nice gst-inspect-1.0 nicesrc
		python3-gi /usr/bin/python3 -c 'import gi'
		gir1.2-gst-plugins-bad-1.0 /usr/bin/python3 -c 'import gi; gi.require_version("GstWebRTC", "1.0")'
		gcc command -v gcc
		libc6-dev test -e /usr/include/stdlib.h
		npm command -v npm
		awscli test -x /usr/bin/aws
		python3-boto3 /usr/bin/python3 -c 'import boto3'
	LIST
}

# missing prints the packages whose line does not hold.
missing() {
	local package probe
	needs | while read -r package probe; do
		bash -c "$probe" >/dev/null 2>&1 </dev/null || echo "$package"
	done
}

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

packages=$(missing)
if [ -n "$packages" ]; then
	if ! command -v apt-get >/dev/null; then
		echo "missing, and this is no Debian to install it on:" $packages >&2
		exit 1
	fi
	echo "installing" $packages
	apt update
	# shellcheck disable=SC2086 # a list of names
	apt install -y --no-install-recommends $packages
	packages=$(missing)
	if [ -n "$packages" ]; then
		echo "still missing after their installation:" $packages >&2
		exit 1
	fi
fi

# Debian 12 has Node 18, too old for the browser tests: npm has newer ones.
if ! node_is_new; then
	echo "installing Node $node_version into $node_home"
	npm install --no-audit --no-fund --ignore-scripts --no-save --prefix "$cache/node-$node_version" "$node_package@$node_version"
	. .ci/env.sh
	node_is_new || { echo "the Node in $node_home does not run" >&2 && exit 1; }
fi

e2e=cmd/kineweir/e2e
if ! cmp -s "$e2e/package-lock.json" "$e2e/node_modules/.of-package-lock.json"; then
	(cd "$e2e" && npm ci --no-audit --no-fund --ignore-scripts)
	cp "$e2e/package-lock.json" "$e2e/node_modules/.of-package-lock.json"
fi

bash .ci/servers.sh
