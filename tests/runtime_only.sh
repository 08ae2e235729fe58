#!/usr/bin/env bash
# Usage: tests/runtime_only.sh PYTHON [REQUIREMENTS]. Runs the product with a Python that has what REQUIREMENTS
# (requirements.txt) names and nothing else: imports every module, runs every script and command on built-in data, and
# resolves every command line of README. Fails at the first that does not end well, with what it printed.
# With an optional requirements file beside the runtime: the imports, a run of each script, and what that file is for, its
# lines "# CI runs: python ...".
set -euo pipefail
[ $# = 1 ] || [ $# = 2 ] || { sed -n 2,6p "$0" >&2; exit 2; }
python=$(command -v "$1")
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$(dirname "$0")/.."
requirements=${2:-requirements.txt}
if "$python" -c "import pytest" 2> /dev/null; then
  echo "$python has pytest, so that it may have what $requirements lacks: make an environment without test tools" >&2
  exit 2
fi
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$folder" data/splits/*-runtime_only-0' EXIT
export ALIQUOT_RUNS=$folder/runs ALIQUOT_CACHE=$folder/cache MPLBACKEND=Agg OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
unset ALIQUOT_MONGO

run() {
  local printed
  printed=$(mktemp "$folder/printed.XXXXXX")
  "$python" "$@" > "$printed" 2>&1 < /dev/null || { { cat "$printed"; echo "Failed: python $*"; } >&2; exit 1; }
  echo "python $*"
}

run_script() {
  local script=$1
  run "experiments/$script.py" print_config
  run "experiments/$script.py" print_named_configs
  run "experiments/$script.py" with tiny
  run "experiments/$script.py" supervised with tiny
  run "experiments/$script.py" evaluate with tiny
  run "experiments/$script.py" splits with tiny dataset_title=runtime_only
  run experiments/grid.py "$script" with tiny run=0..2 --print
  run -m analysis.summary "$ALIQUOT_RUNS" --task "$script" --out "$folder/$script.png"
  run -m analysis.report "$ALIQUOT_RUNS" --task "$script" --out "$folder/$script"
}

run_readme() { # command lines of README: what they ask for is resolved, not trained
  local first rest
  grep -hoE '^python (experiments/|-m analysis)[^#|&]*' README.md > "$folder/lines"
  while read -r _ first rest; do
    case $first in
      experiments/grid.py) run "$first" ${rest%%--slurm*} --print ;;
      experiments/*) case " $rest" in *" with "*) run "$first" print_config with ${rest#*with } ;; *) run "$first" print_config ;; esac ;;
      *) run "$first" "${rest%% *}" --help ;;
    esac
  done < "$folder/lines"
}

run -c '
import importlib, pathlib
for room in ("data", "models", "heuristics", "experiments", "analysis"):
    for file in sorted(pathlib.Path(room).rglob("*.py")):
        if file.name != "__main__.py":
            importlib.import_module(".".join(file.with_suffix("").parts).removesuffix(".__init__"))
'
if [ "$requirements" != requirements.txt ]; then
  for script in segment classify detect; do run "experiments/$script.py" with tiny; done
  sed -n 's/^# CI runs: python //p' "$requirements" > "$folder/lines"
  while read -r line; do run $line; done < "$folder/lines"
  echo "All of it runs with $requirements"
  exit
fi
# Two at a time: each of them is one thread, and most of it is start-up.
(
  export ALIQUOT_RUNS=$folder/other_runs
  run_script detect
  run experiments/grid.py segment with tiny run=1,2 --jobs 2
  run experiments/pretrain.py with tiny
  run experiments/grid.py pretrain with tiny run=0..2 --print
  run -m analysis.sync --help
) &
other=$!
run_script segment
run_script classify
run -m heuristics
run_readme
wait "$other"
echo "All of it runs with $requirements alone"
