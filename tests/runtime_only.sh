#!/usr/bin/env bash
# Usage: tests/runtime_only.sh PYTHON [REQUIREMENTS]. Runs the product with a Python that has what REQUIREMENTS
# (requirements.txt) names and nothing else: imports every module, runs every script and command on built-in data, and
# resolves every command line of README. Fails at the first that does not end well, with what it printed.
# An optional requirements file names what it is for in lines "# CI runs: python ...", which run here too.
set -euo pipefail
[ $# = 1 ] || [ $# = 2 ] || { sed -n 2,5p "$0" >&2; exit 2; }
python=$(command -v "$1")
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$(dirname "$0")/.."
requirements=${2:-requirements.txt}
if "$python" -c "import pytest" 2> /dev/null; then
  echo "$python has pytest, so that it may have what $requirements lacks: make an environment without test tools" >&2
  exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder" data/splits/*-runtime_only-0' EXIT
export ALIQUOT_RUNS=$folder/runs ALIQUOT_CACHE=$folder/cache MPLBACKEND=Agg OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
unset ALIQUOT_MONGO

run() {
  echo "python $*"
  "$python" "$@" > "$folder/printed" 2>&1 < /dev/null || { cat "$folder/printed"; echo "Failed: python $*"; exit 1; } >&2
}

run -c '
import importlib, pathlib
for room in ("data", "models", "heuristics", "experiments", "analysis"):
    for file in sorted(pathlib.Path(room).rglob("*.py")):
        if file.name != "__main__.py":
            importlib.import_module(".".join(file.with_suffix("").parts).removesuffix(".__init__"))
'
run -m heuristics
for script in segment classify detect; do
  run "experiments/$script.py" print_config
  run "experiments/$script.py" print_named_configs
  run "experiments/$script.py" with tiny
  run "experiments/$script.py" supervised with tiny
  run "experiments/$script.py" evaluate with tiny
  run "experiments/$script.py" splits with tiny dataset_title=runtime_only
  run experiments/grid.py "$script" with tiny run=0..2 --print
  run -m analysis.summary "$ALIQUOT_RUNS" --task "$script" --out "$folder/$script.png"
  run -m analysis.report "$ALIQUOT_RUNS" --task "$script" --out "$folder/$script"
done
run experiments/pretrain.py with tiny
run experiments/grid.py pretrain with tiny run=0..2 --print
run experiments/grid.py segment with tiny run=1,2 --jobs 2
run -m analysis.sync --help

# Command lines of README: what they ask for is resolved, not trained.
grep -hoE '^python (experiments/|-m analysis)[^#|&]*' README.md > "$folder/lines"
while read -r _ first rest; do
  case $first in
    experiments/grid.py) run "$first" ${rest%%--slurm*} --print ;;
    experiments/*) case " $rest" in *" with "*) run "$first" print_config with ${rest#*with } ;; *) run "$first" print_config ;; esac ;;
    *) run "$first" "${rest%% *}" --help ;;
  esac
done < "$folder/lines"

sed -n 's/^# CI runs: python //p' "$requirements" > "$folder/lines"
while read -r line; do run $line; done < "$folder/lines"
echo "All of it runs with $requirements alone"
