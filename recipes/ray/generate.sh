#!/usr/bin/env bash
# Sample the student on every node of a Ray cluster, an engine a worker:
#
#   ray job submit --working-dir . -- bash recipes/ray/generate.sh prm12k_train traces.jsonl
#
# WORKERS is how many engines there are in all. With GPUs each has one and runs vLLM; GPUS=2 gives
# two to each. What is drawn is stored beside the output: run again, it goes on where it was.
set -euo pipefail
questions=${1:?the questions: a file or a set by name}
traces=${2:?where the traces go}
shift 2
exec drp generate "$questions" -o "$traces" --backend ray \
  --engine-arg "workers=${WORKERS:-1}" ${GPUS:+--engine-arg "gpus=$GPUS"} "$@"
