#!/usr/bin/env bash
# Makes .venv exactly as requirements.lock says, and installs this checkout into it.
# Does nothing when that has been done for this lock and this pyproject.toml.
set -euo pipefail
cd "$(dirname "$0")/.."

is_supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if command -v "$candidate" >/dev/null && is_supported "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  echo "Circles needs Python 3.11, 3.12 or 3.13; found: $(python3 --version 2>/dev/null || echo none)." \
    "Install one, or name it: make setup PYTHON=/path/to/python3.12" >&2
  exit 1
}

stamp=.venv/installed-lock
sum=$(cat requirements.lock pyproject.toml | cksum)
if [[ -f $stamp && $(<"$stamp") == "$sum" ]] && is_supported .venv/bin/python; then
  exit 0
fi

python=$(find_python)
if ! is_supported .venv/bin/python; then
  rm -rf .venv
  "$python" -m venv .venv || {
    rm -rf .venv
    echo "$python cannot make virtual environments: install its venv package (Debian: python3-venv)." >&2
    exit 1
  }
fi

echo "Installing into .venv (the first time some 400 MB; later runs skip this) …"
.venv/bin/python -m pip install --disable-pip-version-check --progress-bar on \
  --no-deps --require-hashes -r requirements.lock
.venv/bin/python -m pip install --disable-pip-version-check --quiet \
  --no-deps --no-build-isolation --no-index -e .
printf '%s' "$sum" > "$stamp"
