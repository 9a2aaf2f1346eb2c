#!/usr/bin/env bash
# Print the path of a Python for the project: $PYTHON, else the version in .python-version, else a newer one.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=$(<.python-version)

# Asked rather than looked at: a version manager's stand-in is on PATH also for versions it does not have.
fits() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 13))' >/dev/null 2>&1
}

shopt -s nullglob
candidates=(
  ${PYTHON:+"$PYTHON"}
  "python$wanted"
  "${PYENV_ROOT:-$HOME/.pyenv}/versions/$wanted".*/bin/python
  "$(uv python find --no-python-downloads "$wanted" 2>/dev/null || true)"
  python3.14
  python3
)
for candidate in "${candidates[@]}"; do
  if path=$(command -v "$candidate") && fits "$path"; then
    echo "$path"
    exit
  fi
done

cat >&2 <<MESSAGE
No Python $wanted or later (with venv) was found on PATH, at pyenv or at uv. Any of these gives one:
  pyenv install $wanted
  uv python install $wanted
  apt-get install python$wanted-venv      (where the distribution has it)
or name one yourself: make PYTHON=/path/to/python$wanted
MESSAGE
exit 1
