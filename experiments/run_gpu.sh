#!/usr/bin/env bash
# The growth study of every D4RL v0 window file on a GPU, in pieces: repeat the same command until its status is 0.
#
#   experiments/run_gpu.sh DATA OUT [options of verify_growth.py]
#
# DATA holds {hopper,walker2d,halfcheetah}-LEVEL-v0_*.hdf5, OUT gets one folder a file. Runs keep checkpoints, so a
# piece may end, or be killed, at any moment. Exit status: 0 all studies are finished, 75 there is more to do, 2 bad input.
#
#   SEEM_PIECE_SECONDS  length of a piece, 540 by default
#   SEEM_DEVICE         cuda by default
#   SEEM_WHEELS         a folder of wheels that this machine lacks; nothing is downloaded
#   PYTHON              the interpreter, python3 by default
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "error: two folders are needed, of the data and of the results: experiments/run_gpu.sh DATA OUT" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
data=$1 out=$2
shift 2
python=${PYTHON:-python3}
deadline=$((SECONDS + ${SEEM_PIECE_SECONDS:-540}))
export PYTHONPATH="$root/reference${PYTHONPATH:+:$PYTHONPATH}"

shopt -s nullglob
files=("$data"/*-v0_*.hdf5)
if [ ${#files[@]} -eq 0 ]; then
  echo "error: $data holds no D4RL v0 windows (*-v0_*.hdf5): pass their folder" >&2
  exit 2
fi
if [ -n "${SEEM_WHEELS:-}" ]; then
  "$python" -m pip install --quiet --no-index --find-links "$SEEM_WHEELS" "$SEEM_WHEELS"/*.whl
fi

for file in "${files[@]}"; do
  name=$(basename "$file")
  name=${name%%_*}
  env=${name%%-*}
  study=$out/$name
  if [ -e "$study/results.json" ]; then
    continue
  fi
  left=$((deadline - SECONDS))
  if [ "$left" -le 0 ]; then
    exit 75
  fi
  status=0
  timeout --kill-after=10 "$left" "$python" "$root/experiments/verify_growth.py" --env "$env" --dataset "$name" \
    --data-dir "$data" --device "${SEEM_DEVICE:-cuda}" --out "$study" --depths 2 3 --batch 512 --budget 400 \
    --no-normalise-states --no-controls --no-adam "$@" || status=$?
  case $status in
    0 | 1) ;; # 1: a claim is refuted, which is a result
    124 | 137) exit 75 ;;
    *) exit "$status" ;;
  esac
done
echo "all ${#files[@]} studies are finished: $out"
