#!/usr/bin/env bash
# Usage: tests/with_servers.sh FOLDER. Installs a MongoDB server, Omniboard with a browser, and Slurm, and runs the tests that need them.
# MongoDB and Omniboard go into FOLDER (700 MB); Slurm, Node and Chromium are Debian's packages, installed where they are missing, as root.
# Pictures of Omniboard go to $ALIQUOT_SCREENSHOTS (screenshots/). A test that is skipped here counts as a failure.
set -euo pipefail
[ $# = 1 ] || { sed -n 2,4p "$0" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin
if ! command -v slurmctld > /dev/null || ! command -v munged > /dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
fi
ALIQUOT_MONGOD=$(tests/mongo_install.sh "$folder/mongo")
ALIQUOT_OMNIBOARD=$(tests/omniboard_install.sh "$folder/omniboard")
export ALIQUOT_MONGOD ALIQUOT_OMNIBOARD ALIQUOT_SCREENSHOTS="${ALIQUOT_SCREENSHOTS:-$PWD/screenshots}"
python -m pytest -m slurm -rs > "$folder/slurm.log" 2>&1 & # most of both is waiting for servers
slurm=$!
failed=0
python -m pytest -m "mongo or browser" -rs | tee "$folder/tests.log" || failed=1
wait "$slurm" || failed=1
cat "$folder/slurm.log"
[ $failed = 0 ]
if grep -qE "^SKIPPED|[0-9]+ skipped" "$folder/tests.log" "$folder/slurm.log"; then
  echo "A test of a server was skipped, see above" >&2
  exit 1
fi
ls -l "$ALIQUOT_SCREENSHOTS"
