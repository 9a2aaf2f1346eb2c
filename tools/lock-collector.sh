#!/usr/bin/env bash
# Write tools/otelcol/go.mod and go.sum anew after a change of manifest.yaml. Needs the network; commit the result.
set -euo pipefail
cd "$(dirname "$0")/otelcol"
here=$PWD
version=$(sed -n 's/^  version: //p' manifest.yaml)
builder=go.opentelemetry.io/collector/cmd/builder
export GOTOOLCHAIN=local GOFLAGS= GOWORK=off

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp manifest.yaml "$work"
cd "$work"
go mod init kagenti.dev/tools/otelcol
go get -tool "$builder@v$version"
go tool builder --config manifest.yaml --skip-get-modules --skip-compilation

# One go.mod for the builder and for what it builds, so that one go.sum vouches for both.
cd source
go get -tool "$builder@v$version"
# Where a proxy lacks what only the tests of dependencies import, tidy reports it and goes on; what is compiled
# must be there.
go mod tidy -e
go list -mod=readonly -deps . tool >/dev/null
sed '/^\/\/ Code generated/,/^$/d' go.mod >"$here/go.mod"
cp go.sum "$here/go.sum"
