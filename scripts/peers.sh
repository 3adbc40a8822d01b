#!/usr/bin/env bash
# Environments for `make bench-peers`: .venv-peers/NAME for each library that is compared.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=.venv/bin/uv
for peer in bespokelabs-curator 'distilabel[openai] requests'; do
    folder=.venv-peers/${peer%%[\[ ]*}
    [ -f "$folder/.ready" ] && continue
    "$uv" venv --quiet --allow-existing --python .venv/bin/python "$folder"
    if "$uv" pip install --quiet --python "$folder/bin/python" $peer; then
        touch "$folder/.ready"
    else
        echo "peers: $peer cannot be installed here, and is left out" >&2
    fi
done
