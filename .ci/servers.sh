#!/usr/bin/env bash
# Builds the S3 servers that tests run against, once per version, into a cache outside the clone.
# They are separate programs: nothing of them is linked into kineweir or listed in its go.mod.
# The versions are those of archive/bucket/buckettest (a test there holds them equal).
set -eu

minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
versitygw_version=v1.8.0

cache="${XDG_CACHE_HOME:-$HOME/.cache}/kineweir/bin"
mkdir -p "$cache"

# server NAME PACKAGE VERSION: build unless cached; the rename makes it appear whole or not at all.
server() {
	target="$cache/$1-$3"
	if [ -x "$target" ]; then
		echo "$1 $3: have $target"
		return
	fi
	echo "$1 $3: building (minutes, once)"
	temp=$(mktemp -d "$cache/build-XXXXXX")
	trap 'rm -rf "$temp"' EXIT
	# From outside the module, so that its go.mod is neither read nor changed. These are programs for this
	# machine whatever is being cross-built, or go install would refuse to place them in GOBIN.
	(cd "$temp" && env -u GOOS -u GOARCH -u GOFLAGS CGO_ENABLED=0 GOWORK=off GOBIN="$temp" go install -trimpath "$2@$3")
	mv -f "$temp/$1" "$target"
	rm -rf "$temp"
	trap - EXIT
}

server versitygw github.com/versity/versitygw/cmd/versitygw "$versitygw_version"
server minio github.com/minio/minio "$minio_version"
