#!/usr/bin/env bash
# What the image's build stage does, as a script so that it also runs where no container can be built.
# Usage: tools/image.sh FOLDER    fills it with the operator, what it needs, and a software bill of materials
# PYTHON names the interpreter: of the minor version of the one that will run what is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/tools"
tools=$work/tools/bin
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_QUIET=1
"$tools/python" -m pip install --require-hashes -r requirements/image.txt

# Without pip: what is in this environment, and nothing else, is what the bill of materials lists.
"${PYTHON:-python3}" -m venv --without-pip "$work/app"
install() { "$tools/python" -m pip --python "$work/app/bin/python" install --no-compile "$@"; }
install --require-hashes -r requirements/run.txt
"$tools/python" -m pip wheel --no-deps --no-build-isolation --wheel-dir "$work" .
install --no-deps --no-index --find-links "$work" kagenti-operator

mkdir -p "$folder"
cp -r "$work"/app/lib/python3*/site-packages/. "$folder"
"$tools/cyclonedx-py" environment --pyproject pyproject.toml --output-reproducible \
  --output-file "$folder/sbom.cdx.json" "$work/app/bin/python"
# Nobody may write there when it runs, so bytecode is made now, to be taken as it is and with the paths of then.
"$tools/python" -m compileall -q --invalidation-mode unchecked-hash -s "$folder" -p /opt/kagenti-operator "$folder"
