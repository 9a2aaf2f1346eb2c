#!/usr/bin/env bash
# Write requirements/*.txt: every package with its version and hashes, for any platform and Python 3.13 or later.
# UPGRADE=1 takes the newest versions; without it only what pyproject.toml or an .in file changed is resolved anew.
set -euo pipefail
cd "$(dirname "$0")/.."

# Lists name neither where a package came from nor a folder of this machine, so they hold elsewhere too.
unset PIP_FIND_LINKS UV_FIND_LINKS UV_CUSTOM_COMPILE_COMMAND
lock() {
  local name=$1
  shift
  echo "requirements/$name.txt"
  .venv/bin/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-header ${UPGRADE:+--upgrade} \
    --output-file "requirements/$name.txt" "$@" >/dev/null
}

lock run pyproject.toml
# What both distributions need, and the tools of development.
lock dev pyproject.toml devcluster/pyproject.toml --group dev --no-emit-package kagenti-operator --constraints requirements/run.txt
for list in build image agent go java plot; do
  lock "$list" "requirements/$list.in"
done
for list in mlflow-3.10 mlflow-3.14 mlflow-3.17; do
  lock "$list" "requirements/$list.in" --excludes requirements/mlflow.excludes
done
