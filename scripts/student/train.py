"""Trains the embedded student from scratch: `python scripts/student/train.py -o DIR`.

Everything is drawn from the seed, so the same versions of the libraries on the same machine give
the same student. A run that was killed goes on from its last checkpoint when run again. The
learning rate is constant and falls linearly over the last `--decay` steps, so a longer run may
start from a shorter one's `training/stable.pt` (the state where its decay began).
"""

import argparse
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from card import write_card
from rows import CURRICULUM, Row, Stage, draw, texts
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from vocabulary import train_tokenizer

BUFFER = 512
"""Rows drawn at a time, to be batched by length."""


def build_model(vocab_size: int, eos: int, bos: int) -> Qwen2ForCausalLM:
    """The untrained student: about a million parameters, tied embeddings."""
    config = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=eos,
        initializer_range=0.04,
        dtype="float32",
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.6,
        top_p=0.95,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=eos,
    )
    return model


Batch = tuple[tuple[int, int], torch.Tensor, torch.Tensor]
"""The position after it in its stage, ids, and labels.

Ids and labels are (rows, length); -100 labels what is not learned. Rows are padded on the right,
where causal attention never looks.
"""


def curriculum(
    tokenizer: PreTrainedTokenizerFast, seed: int, steps: int, done: int, position: tuple[int, int]
) -> Iterator[Batch]:
    """The batches of a run of `steps` that has `done` some, the last at `position`."""
    first = 0
    for number, stage in enumerate(CURRICULUM):
        last = min(first + stage.steps, steps) if stage.steps else steps
        if done < last:
            start = position if done > first else (0, 0)
            endless = batches(tokenizer, f"{seed}/{number}", stage, start)
            yield from itertools.islice(endless, last - max(done, first))
        first = last


def batches(
    tokenizer: PreTrainedTokenizerFast, seed: str, stage: Stage, start: tuple[int, int]
) -> Iterator[Batch]:
    """Endless batches of a stage from position `start` on."""
    buffer, skip = start
    pad = tokenizer.pad_token_id
    while True:
        rng = random.Random(f"{seed}/{buffer}")
        rows = sorted(draw(tokenizer, rng, BUFFER, stage), key=lambda row: len(row.ids))
        groups: list[list[Row]] = [[]]
        for row in rows:
            if len(row.ids) * (len(groups[-1]) + 1) > stage.tokens and groups[-1]:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        for index, group in enumerate(groups):
            if index < skip:
                continue
            width = max(len(row.ids) for row in group)
            ids = torch.full((len(group), width), pad)
            labels = torch.full((len(group), width), -100)
            for i, row in enumerate(group):
                ids[i, : len(row.ids)] = torch.tensor(row.ids)
                learned = [t if w else -100 for t, w in zip(row.ids, row.learn, strict=True)]
                labels[i, : len(row.ids)] = torch.tensor(learned)
            last = index == len(groups) - 1
            yield ((buffer + 1, 0) if last else (buffer, index + 1)), ids, labels
        buffer, skip = buffer + 1, 0


def loss_of(model: Qwen2ForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the learned tokens."""
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    targets = labels[:, 1:]
    learned = targets != -100
    return F.cross_entropy(model.lm_head(hidden[learned]).float(), targets[learned])


def optimizers(model: Qwen2ForCausalLM, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices (it needs far fewer tokens here), AdamW for the rest."""
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inner = parameter.ndim == 2 and "embed" not in name
        (matrices if inner else rest).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=lr * 3, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train(args: argparse.Namespace) -> None:
    """Trains into `args.output`; see the module."""
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    if (folder / "tokenizer.json").exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    else:
        tokenizer = train_tokenizer(texts(random.Random(args.seed), 6000), args.vocab)
        tokenizer.save_pretrained(folder)
    model = build_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.bos_token_id)
    parts = optimizers(model, args.lr)
    schedules = [_decay(part, args) for part in parts]
    print(f"{model.num_parameters():,} parameters", file=sys.stderr)

    step, position, seen = 0, (0, 0), 0
    states = folder / "training"
    states.mkdir(exist_ok=True)
    checkpoint = states / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        for part, saved in zip(parts, state["optimizers"], strict=True):
            part.load_state_dict(saved)
        step, position, seen = state["step"], tuple(state["position"]), state["seen"]
        print(f"going on from step {step}", file=sys.stderr)

    def save(path: Path) -> None:
        state = {
            "model": model.state_dict(),
            "optimizers": [part.state_dict() for part in parts],
            "step": step,
            "position": position,
            "seen": seen,
        }
        torch.save(state, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    model.train()
    if args.compile:
        model.model.forward = torch.compile(model.model.forward, dynamic=True)
    began, seen_before, total = time.monotonic(), seen, 0.0
    made = curriculum(tokenizer, args.seed, args.steps, step, position)
    for position_after, ids, labels in made:
        for set_rate in schedules:
            set_rate(step)
        loss = loss_of(model, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in parts:
            part.step()
            part.zero_grad(set_to_none=True)
        step, position, seen = step + 1, position_after, seen + ids.numel()
        total += loss.item()
        if step % args.log == 0:
            rate = (seen - seen_before) / (time.monotonic() - began)
            line = {"step": step, "loss": round(total / args.log, 4), "tokens": seen}
            print(json.dumps(line | {"tokens_per_s": round(rate)}), file=sys.stderr, flush=True)
            total = 0.0
        if step % args.save == 0:
            save(checkpoint)
        if step == args.steps - args.decay:
            save(states / "stable.pt")
    save(checkpoint)
    model.eval()
    model.save_pretrained(folder)
    write_card(folder, {"steps": step, "tokens": seen, "seed": args.seed}, [])
    print(f"{folder}: {step} steps, {seen:,} tokens", file=sys.stderr)


def _decay(part: torch.optim.Optimizer, args: argparse.Namespace):
    """A function that sets the learning rate for a step: warm-up, constant, linear fall."""
    peaks = [group["lr"] for group in part.param_groups]

    def set_rate(step: int) -> None:
        share = min(1.0, (step + 1) / 50, max(0.02, (args.steps - step) / max(1, args.decay)))
        for group, peak in zip(part.param_groups, peaks, strict=True):
            group["lr"] = peak * share

    return set_rate


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(description="train the embedded student from scratch")
    made.add_argument("-o", "--output", required=True, help="folder of the model")
    made.add_argument("--steps", type=int, default=5400)
    made.add_argument("--decay", type=int, default=1800, help="last steps, with a falling rate")
    made.add_argument("--lr", type=float, default=1.5e-3)
    made.add_argument("--vocab", type=int, default=1000)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--log", type=int, default=50, help="steps between two lines of progress")
    made.add_argument("--save", type=int, default=200, help="steps between two checkpoints")
    made.add_argument(
        "--compile", action="store_true", help="compile the model (needs a C++ compiler)"
    )
    return made


if __name__ == "__main__":
    train(parser().parse_args())
