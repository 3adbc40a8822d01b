"""Small models and tokenizers in the layouts of the real ones, made on the spot."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
# R1-Distill-Qwen's added tokens, in the order of their ids from 151643 on.
R1_TOKENS = [
    (EOS, True), (USER, False), (ASSISTANT, False), (BOS, True), ("<|EOT|>", False),
    ("<think>", False), ("</think>", False), ("<|quad_start|>", True), ("<|quad_end|>", True),
    ("<|vision_start|>", True), ("<|vision_end|>", True), ("<|vision_pad|>", True),
    ("<|image_pad|>", True), ("<|video_pad|>", True), ("<tool_call>", False),
    ("</tool_call>", False), ("<|fim_prefix|>", False), ("<|fim_middle|>", False),
    ("<|fim_suffix|>", False), ("<|fim_pad|>", False), ("<|repo_name|>", False),
    ("<|file_sep|>", False),
]
QWEN3_TOKENS = [("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True),
                *[(f"<|reserved_{i}|>", True) for i in range(22)],
                ("<think>", False), ("</think>", False)]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")


@cache
def _qwen_ranks() -> dict[bytes, int]:
    import base64

    import dashscope

    file = Path(dashscope.__file__).parent / "resources" / "qwen.tiktoken"
    return {base64.b64decode(token): int(rank)
            for token, rank in (line.split() for line in file.read_text().splitlines())}


def _merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Replay byte-pair ranks into merges: the last pair that joins to each token."""
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            continue
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:
            best = min((r, i) for i in range(len(parts) - 1)
                       if (r := ranks.get(parts[i] + parts[i + 1], rank)) < rank)[1]
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        merges.append((parts[0], parts[1]))
    return merges


def _byte_chars() -> dict[int, str]:
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in plain}
    table.update({b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in table)})
    return table


def _bpe(vocab: dict[str, int], merges: list[tuple[str, str]], added: list[tuple[str, bool]]):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
    from tokenizers import pre_tokenizers as pre

    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre.Sequence([
        pre.Split(Regex(PATTERN), "isolated"),
        pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=special)
                          for text, special in added])
    return tokenizer


def _save(tokenizer, folder: Path, chat_template: str, *, bos: str | None = BOS, eos: str = EOS,
          pad: str = EOS, tokenizer_class: str = "PreTrainedTokenizerFast", **settings) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": tokenizer_class, "bos_token": bos, "eos_token": eos, "pad_token": pad,
        "model_max_length": 16384, "clean_up_tokenization_spaces": False,
        "chat_template": chat_template, **settings}, ensure_ascii=False))
    return folder


def chat_template(name: str = "chat_r1_distill") -> str:
    """A shipped chat template."""
    from drp_plugin.resources import resource

    return (resource("prompts") / f"{name}.jinja").read_text(encoding="utf-8")


def byte_tokenizer(folder: Path, *, chat: str | None = None,
                   added: list[tuple[str, bool]] = R1_TOKENS, **settings) -> Path:
    """One token a byte, plus the control tokens: R1's layout with a vocabulary of 278."""
    vocab = {char: i for i, char in enumerate(_byte_chars().values())}
    return _save(_bpe(vocab, [], added), folder, chat or chat_template(), **settings)


def qwen_tokenizer(folder: Path, *, chat: str | None = None,
                   added: list[tuple[str, bool]] = R1_TOKENS, **settings) -> Path:
    """The real Qwen byte-pair encoding with R1-Distill's control tokens at their real ids."""
    chars = _byte_chars()
    ranks = _qwen_ranks()
    text = {token: "".join(chars[b] for b in token) for token in ranks}
    merges = [(text[a], text[b]) for a, b in _merges(ranks)]
    return _save(_bpe({text[t]: r for t, r in ranks.items()}, merges, added), folder,
                 chat or chat_template(), **settings)


def random_model(folder: Path, *, vocab: int = 278, hidden: int = 32, layers: int = 2,
                 heads: int = 4, kv_heads: int = 2, bos: int = 259, eos: int = 256,
                 positions: int = 4096, tied: bool = False, seed: int = 0) -> Path:
    """A Qwen2 of random weights, fp32, beside the tokenizer that stands in `folder`."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocab, hidden_size=hidden, intermediate_size=2 * hidden,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=positions, bos_token_id=bos, eos_token_id=eos,
        tie_word_embeddings=tied)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def rows(number: int, *, thinking: int = 3) -> list[dict[str, object]]:
    """Pruned rows in the record's layout, each with its own arithmetic."""
    made = []
    for i in range(number):
        total = i + 2 * (i + 1)
        steps = " ".join(f"First {i} plus {i + 1} is {2 * i + 1}." for _ in range(thinking))
        made.append({
            "id": f"toy/{i}", "question": f"Ann has {i} pens and buys {i + 1} twice. How many?",
            "answer": str(total), "dataset": "toy_a" if i % 2 else "toy_b",
            "model": "toy-student", "original": f"<think>\nHmm. {steps} Wait. {steps}\n</think>\n\n"
            f"The answer is {total}.",
            "response": f"<think>\n{steps}\n</think>\n\nThe answer is {total}.",
            "tokens_before": 40, "tokens_after": 20, "teacher": "offline",
            "prompts_hash": "abc123abc123"})
    return made


SHAPES = {
    # hidden, inner, layers, heads, key-value heads, vocabulary: the published configs
    "7B": dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28,
               num_attention_heads=28, num_key_value_heads=4, vocab_size=152064),
    "1.5B": dict(hidden_size=1536, intermediate_size=8960, num_hidden_layers=28,
                 num_attention_heads=12, num_key_value_heads=2, vocab_size=151936),
}


def config_only(folder: Path, shape: str = "7B") -> Path:
    """The real model's config.json, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **SHAPES[shape],
        "bos_token_id": 151643, "eos_token_id": 151643, "max_position_embeddings": 131072,
        "rope_theta": 10000, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
        "torch_dtype": "bfloat16"}))
    return folder


def adapter_without_layers(folder: Path, **settings: object) -> Path:
    """A folder that can be read as an adapter: a configuration, and weights of which there are
    none."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file({}, folder / "adapter_model.safetensors")
    return folder
