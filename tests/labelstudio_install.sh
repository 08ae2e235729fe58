#!/usr/bin/env bash
# Usage: tests/labelstudio_install.sh FOLDER. Installs Label Studio into FOLDER/venv, makes an empty database in
# FOLDER/database, of which tests take a copy (making it takes longer than all else of a start), and prints the program's path:
#     ALIQUOT_LABEL_STUDIO=$(tests/labelstudio_install.sh /tmp/label-studio) pytest -m labelstudio
# An environment of its own, of 1 GB: it needs other versions than the project, which talks to it over HTTP alone.
set -euo pipefail
mkdir -p "$1"
environment=$(cd "$1" && pwd)/venv
[ -x "$environment/bin/pip" ] || python3 -m venv "$environment" >&2
"$environment/bin/pip" install --quiet "label-studio==1.23.2" >&2
COLLECT_ANALYTICS=False SENTRY_DSN="" FRONTEND_SENTRY_DSN="" LATEST_VERSION_CHECK=False \
  LABEL_STUDIO_BASE_DATA_DIR="$(dirname "$environment")/database" "$environment/bin/label-studio" version >&2
echo "$environment/bin/label-studio"
