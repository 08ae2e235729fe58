#!/usr/bin/env bash
# tests/omniboard_install.sh FOLDER. Installs Omniboard into FOLDER, and the browser that drives it in tests; prints the folder:
#     ALIQUOT_OMNIBOARD=$(tests/omniboard_install.sh /tmp/omniboard) pytest -m browser
# Node, npm, Chromium and its driver are Debian's packages, installed only where they are missing and for root.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd)
packages=()
for pair in node:nodejs npm:npm chromium:chromium chromedriver:chromium-driver; do
  command -v "${pair%%:*}" > /dev/null || packages+=("${pair#*:}")
done
if [ ${#packages[@]} -gt 0 ]; then
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
fi
npm install --prefix "$folder" --no-audit --no-fund --ignore-scripts omniboard@2.16.1 >&2
echo "$folder"
