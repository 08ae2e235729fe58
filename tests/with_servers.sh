#!/usr/bin/env bash
# Usage: tests/with_servers.sh FOLDER. Installs MongoDB, Omniboard with a browser, Label Studio and Slurm, and runs the tests that need them.
# MongoDB, Omniboard and Label Studio go into FOLDER (1.7 GB); Slurm, Node and Chromium are Debian's packages, installed where they are
# missing, as root. Pictures of pages go to $ALIQUOT_SCREENSHOTS (screenshots/). A test that is skipped here counts as a failure.
set -euo pipefail
[ $# = 1 ] || { sed -n 2,4p "$0" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin
tests/labelstudio_install.sh "$folder/labelstudio" > "$folder/labelstudio.path" & # the longest, and needs no root
installing=$!
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
if ! command -v slurmctld > /dev/null || ! command -v munged > /dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
fi
ALIQUOT_MONGOD=$(tests/mongo_install.sh "$folder/mongo")
ALIQUOT_OMNIBOARD=$(tests/omniboard_install.sh "$folder/omniboard")
export ALIQUOT_MONGOD ALIQUOT_OMNIBOARD ALIQUOT_SCREENSHOTS="${ALIQUOT_SCREENSHOTS:-$PWD/screenshots}"

marked() { grep -rlE "mark\.($1)\b" tests --include='test_*.py'; } # collecting all others takes longer than these take

# All three at once: most of each is waiting for servers, each of its own on a free port.
python -m pytest -m slurm -rs $(marked slurm) > "$folder/slurm.log" 2>&1 &
slurm=$!
wait "$installing"
ALIQUOT_LABEL_STUDIO=$(cat "$folder/labelstudio.path")
export ALIQUOT_LABEL_STUDIO
python -m pytest -m "labelstudio and not processes" -rs tests/experiments/rounds > "$folder/labelstudio.log" 2>&1 &
labelstudio=$!
failed=0
python -m pytest -m "mongo or browser" -rs $(marked "mongo|browser") | tee "$folder/tests.log" || failed=1
for part in slurm labelstudio; do
  wait "${!part}" || failed=1
  cat "$folder/$part.log"
done
[ $failed = 0 ]
if grep -qE "^SKIPPED|[0-9]+ skipped" "$folder/tests.log" "$folder/slurm.log" "$folder/labelstudio.log"; then
  echo "A test of a server was skipped, see above" >&2
  exit 1
fi
ls -l "$ALIQUOT_SCREENSHOTS"
