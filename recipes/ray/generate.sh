#!/usr/bin/env bash
# Sample the student on every node of a Ray cluster, with an engine per worker:
#
#   ray job submit --working-dir . -- bash recipes/ray/generate.sh prm12k_train traces.jsonl
#
# WORKERS is the number of engines. On GPUs, each runs vLLM and has one GPU; GPUS=2 gives it two.
# Samples are stored beside the output, so a second call resumes.
set -euo pipefail
questions=${1:?the questions: a file or a set by name}
traces=${2:?where the traces go}
shift 2
exec drp generate "$questions" -o "$traces" --backend ray \
  --engine-arg "workers=${WORKERS:-1}" ${GPUS:+--engine-arg "gpus=$GPUS"} "$@"
