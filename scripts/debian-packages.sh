#!/usr/bin/env bash
# Installs the Debian packages that reviewpulse's checks need, where they are missing:
# chromium (browser tests, screenshots), fonts-dejavu-core (text in them), faketime (clocks that jump), make,
# postgresql (the tests start a server of their own; the package's service is not used).
set -euo pipefail

packages=(chromium faketime fonts-dejavu-core make postgresql)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "debian-packages: this system has no apt; install by hand: ${packages[*]}" >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    echo "debian-packages: nothing to do"
    exit 0
fi

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "debian-packages: neither root nor sudo; ask an administrator for: ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "debian-packages: installing ${missing[*]}"
"${as_root[@]}" apt-get update --quiet
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "${missing[@]}"
