#!/usr/bin/env bash
# Print the path of a Python for the project: $PYTHON, else the version in .python-version, else a newer one.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=$(<.python-version)

# What is wrong with a Python; nothing when it fits. Asked rather than looked at: a version manager's stand-in is on
# PATH also for versions it does not have, and builds leave out modules whose libraries were not there.
problem() {
  "$1" - 2>/dev/null <<'PROGRAM' || echo "does not run"
import sys
missing = []
for name in ("venv", "ensurepip", "ssl", "sqlite3", "ctypes"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
if sys.version_info < (3, 13):
    print("is version %d.%d" % sys.version_info[:2])
elif missing:
    print("lacks " + ", ".join(missing))
PROGRAM
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
passed_over=
for candidate in "${candidates[@]}"; do
  path=$(command -v "$candidate") || continue
  problem=$(problem "$path")
  if [[ -z $problem ]]; then
    echo "$path"
    exit
  fi
  # One may be found in several ways.
  line="  passed over: $path $problem"
  [[ $passed_over == *"$line"* ]] || passed_over+=$line$'\n'
done

cat >&2 <<MESSAGE
No Python $wanted or later (with venv, ssl, sqlite3 and ctypes) was found on PATH, at pyenv or at uv.
${passed_over}Any of these gives one:
  pyenv install $wanted                    (with libssl-dev, libsqlite3-dev and libffi-dev, or their like)
  uv python install $wanted
  apt-get install python$wanted-venv       (where the distribution has it)
or name one yourself: make PYTHON=/path/to/python$wanted
MESSAGE
exit 1
