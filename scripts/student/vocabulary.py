"""The student's tokenizer: a small byte-level BPE with the special tokens of R1-Distill."""

import json
from collections.abc import Iterable

from drp_plugin.tokens import QWEN_SPLIT

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
SPECIAL = (EOS, USER, ASSISTANT, BOS, "<think>", "</think>")
"""Special tokens in the order of their ids, from 0; the first is also the padding."""

CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
{%- if message.role == 'user' %}{{- '<｜User｜>' + message.content }}
{%- elif message.role == 'assistant' %}
{{- '<｜Assistant｜>' + message.content.split('</think>')[-1] + eos_token }}
{%- else %}{{- message.content }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\\n' }}{% endif %}"""
"""Renders a user's turn as the current R1-Distill models do, thinking already begun."""


def train_tokenizer(texts: Iterable[str], vocab_size: int):
    """A fast transformers tokenizer trained on `texts`, which gives any text back unchanged.

    Byte-level, without normalisation, `vocab_size` tokens with the special ones.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS} $B",
        special_tokens=[(BOS, core.token_to_id(BOS))],
    )
    # As in R1-Distill only the two ends are special: a decoder that skips special tokens must not
    # drop the think tags.
    state = json.loads(core.to_str())
    for token in state["added_tokens"]:
        token["special"] = token["content"] in (BOS, EOS)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
        padding_side="left",
    )


def prompt_text(question: str) -> str:
    """What the chat template renders for one question, thinking not yet begun."""
    return f"{BOS}{USER}{question}{ASSISTANT}"
