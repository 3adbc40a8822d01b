"""What an accelerator does with the paper's settings.

    python benchmarks/gpu.py --data DIR --make RUN_DIR --tokenizer MODEL   (once, on any machine)
    python benchmarks/gpu.py --data DIR -o gpu.json                        (on the GPU)

LLaMA-Factory trains a model of the paper's shape (weights at random: neither speed nor memory
depends on their values) with the shipped YAML on real rows; the sampler for transformers and
ThinkPrune's recipe run beside it. Each part is a process of its own, and its figures are added to
the file as it ends. On a machine without a GPU it says so and ends.

RUN_DIR is what `drp prune` made of real traces, MODEL the student (its tokenizer alone is read).
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {
    "7b": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
           "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064},
    "1_5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
             "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936},
}
"""R1-Distill-Qwen's, as their config.json give them."""
GIB = 2**30
DRP = [sys.executable, "-c", "import sys; from drp_plugin.cli import main; sys.exit(main())"]
DEVICE = "cuda"


def random_weights(size: str, data: Path, folder: Path) -> str:
    """A checkpoint of this shape with random bfloat16 weights; its folder."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    if not (folder / "config.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(data / "tokenizer")
        config = Qwen2Config(**SHAPES[size], max_position_embeddings=131072, rope_theta=10000.0,
                             tie_word_embeddings=False, bos_token_id=tokenizer.bos_token_id,
                             eos_token_id=tokenizer.eos_token_id)
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        with torch.device(DEVICE):
            model = Qwen2ForCausalLM(config)
        torch.set_default_dtype(torch.float32)
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
    return str(folder)


def make(data: Path, run: Path, model: str) -> None:
    """What is measured with: both SFT sets, the tokenizer, and questions, also of the toy."""
    from transformers import AutoTokenizer

    from drp_plugin.sampling import questions
    from drp_plugin.training.sft_set import SetSettings, build

    rows = [json.loads(line) for line in (run / "pruned.jsonl").read_text().splitlines()]
    data.mkdir(parents=True, exist_ok=True)
    AutoTokenizer.from_pretrained(model).save_pretrained(data / "tokenizer")
    for name, which in (("pruned", "response"), ("original", "original")):
        part = data / f"run-{name}"
        part.mkdir(exist_ok=True)
        (part / "pruned.jsonl").write_text(
            "".join(json.dumps({**row, "response": row[which]}) + "\n" for row in rows))
        build([part], data, SetSettings(name=name), replace_set=True)
    build([run], data, SetSettings(name="pairs", pairs=True), replace_set=True)
    (data / "traces.jsonl").write_text("".join(json.dumps(
        {key: row[key] for key in ("id", "question", "answer")} | {"response": row["original"]})
        + "\n" for row in rows))
    (data / "questions.jsonl").write_text("".join(
        json.dumps({key: row[key] for key in ("id", "question", "answer")}) + "\n" for row in rows))
    (data / "toy.jsonl").write_text("".join(
        question.model_dump_json() + "\n" for question in questions.load("tiny:sft:steps3:200")))


def device() -> dict[str, Any]:
    """The card, and the libraries that ran on it."""
    import peft
    import torch
    import transformers

    return {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__,
            "transformers": transformers.__version__, "peft": peft.__version__}


def peaks() -> dict[str, float]:
    """The most memory that tensors took, and that the allocator held, in GiB."""
    import torch

    return {"peak_gib": round(torch.cuda.max_memory_allocated() / GIB, 2),
            "reserved_gib": round(torch.cuda.max_memory_reserved() / GIB, 2)}


def train(data: Path, scratch: Path, *, config: str, size: str, dataset: str, steps: int,
          **changes: Any) -> dict[str, Any]:
    """Some optimizer steps of LLaMA-Factory with a shipped YAML: seconds a step, tokens, memory."""
    import torch
    from llamafactory.train.tuner import run_exp
    from transformers import TrainerCallback

    ends, tokens = [], []

    class Clock(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if not ends:
                torch.cuda.synchronize()
                ends.append(time.perf_counter())

        def on_step_end(self, args, state, control, **kwargs):
            torch.cuda.synchronize()
            ends.append(time.perf_counter())
            tokens.append(int(state.num_input_tokens_seen))

    given = yaml.safe_load((ROOT / "llamafactory_configs" / config).read_text())
    out = scratch / f"out-{size}-{dataset}"
    given |= {"model_name_or_path": random_weights(size, data, scratch / f"model-{size}"),
              "dataset": dataset, "dataset_dir": str(data), "output_dir": str(out),
              "max_steps": steps, "eval_strategy": "no", "val_size": 0, "save_strategy": "no",
              "plot_loss": False, "logging_steps": 1, "overwrite_output_dir": True,
              "include_num_input_tokens_seen": "non_padding"} | changes
    run_exp(given, callbacks=[Clock()])
    took = sorted(b - a for a, b in itertools.pairwise(ends[1:]))
    log = [json.loads(line) for line in (out / "trainer_log.jsonl").read_text().splitlines()]
    return {"config": config, "size": size, "dataset": dataset, "steps": len(ends) - 1,
            "rows_a_step": given["per_device_train_batch_size"]
            * given["gradient_accumulation_steps"],
            "seconds_a_step": round(took[len(took) // 2], 3), "tokens_after_steps": tokens,
            "tokens_per_s": round((tokens[-1] - tokens[0]) / (ends[-1] - ends[1])),
            "losses": [entry.get("loss") for entry in log if "loss" in entry],
            "changes": changes} | peaks()


def memory(data: Path, scratch: Path, *, size: str, shapes: list[list[int]],
           **changes: Any) -> dict[str, Any]:
    """The peak of one forward and backward pass for each (rows, tokens), as LLaMA-Factory loads."""
    import torch
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_model, load_tokenizer

    given = yaml.safe_load((ROOT / "llamafactory_configs" / f"drp_qwen{size}.yaml").read_text())
    given |= {"model_name_or_path": random_weights(size, data, scratch / f"model-{size}"),
              "dataset_dir": str(data), "dataset": "pruned", "output_dir": str(scratch / "none"),
              "overwrite_output_dir": True} | changes
    model_args, _, _, finetuning, _ = get_train_args(given)
    model = load_model(load_tokenizer(model_args)["tokenizer"], model_args, finetuning, True)
    model.train().to(DEVICE)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    found = []
    for rows, length in shapes:
        torch.cuda.empty_cache()
        ids = torch.randint(1000, 100000, (rows, length), device=DEVICE)
        try:
            for _ in range(2):  # the second has the optimizer's state
                torch.cuda.reset_peak_memory_stats()
                with torch.autocast(DEVICE, torch.bfloat16):
                    model(input_ids=ids, labels=ids).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            found.append({"rows": rows, "length": length} | peaks())
        except torch.cuda.OutOfMemoryError:
            optimizer.zero_grad()
            found.append({"rows": rows, "length": length, "peak_gib": None})
    torch.cuda.empty_cache()
    return {"size": size, "changes": changes, "trained": sum(p.numel() for p in trained),
            "weights_gib": round(torch.cuda.memory_allocated() / GIB, 2), "shapes": found}


def greedy_requests(file: Path, rows: int, new: int) -> list[Any]:
    """The first questions of a file, each to be answered in at most so many `new` tokens."""
    from drp_plugin.llm.messages import Message
    from drp_plugin.sampling.completions import SampleRequest

    return [SampleRequest(messages=(Message(role="user", content=json.loads(line)["question"]),),
                          temperature=0, max_new_tokens=new)
            for line in file.read_text().splitlines()[:rows]]


def sampling(data: Path, scratch: Path, *, size: str, rows: int, new: int) -> dict[str, Any]:
    """Tokens a second of the transformers sampler (`drp_hf`), greedy."""
    import torch

    from drp_plugin.sampling.transformers_engine import HFSampler

    sampler = HFSampler(random_weights(size, data, scratch / f"model-{size}"), device=DEVICE)
    asked = greedy_requests(data / "questions.jsonl", rows, new)
    list(sampler.sample([one.model_copy(update={"max_new_tokens": 8}) for one in asked]))
    torch.cuda.synchronize()
    start = time.perf_counter()
    made = sum(outcome.tokens for _, outcome in sampler.sample(asked))
    took = time.perf_counter() - start
    return {"size": size, "rows": rows, "new_tokens": made, "seconds": round(took, 1),
            "tokens_per_s": round(made / took)} | peaks()


def greedy(data: Path, scratch: Path, *, rows: int) -> dict[str, Any]:
    """The embedded student, greedy, on the CPU and on the GPU: the same texts? How fast?"""
    import torch

    from drp_plugin.sampling.transformers_engine import HFSampler
    from drp_plugin.student import model_path

    asked = greedy_requests(data / "toy.jsonl", rows, 1024)
    texts, took = {}, {}
    for name, options in {"cpu": {"device": "cpu", "workers": 1}, "cuda": {"device": DEVICE},
                          "cuda, 512 rows at a time": {"device": DEVICE, "batch_size": 512}
                          }.items():
        sampler = HFSampler(str(model_path()), **options)
        list(sampler.sample(asked[:8]))
        torch.cuda.synchronize()
        start = time.perf_counter()
        texts[name] = {index: outcome.text for index, outcome in sampler.sample(asked)}
        took[name] = round(time.perf_counter() - start, 1)
    same = {name: sum(texts[name][i] == texts["cpu"][i] for i in texts["cpu"]) for name in texts}
    return {"rows": rows, "seconds": took, "same_text_as_cpu": same}


def thinkprune(data: Path, scratch: Path, *, size: str, steps: int, limit: int) -> dict[str, Any]:
    """ThinkPrune's recipe with rollouts by transformers."""
    import torch

    model = random_weights(size, data, scratch / f"model-{size}")
    torch.cuda.empty_cache()
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(ROOT / "recipes/thinkprune/train.py"),
         str(ROOT / f"recipes/thinkprune/qwen{size}.yaml"), f"model={model}",
         f"questions={data / 'questions.jsonl'}", f"output_dir={scratch / 'thinkprune'}",
         f"limits=[{limit}]", f"steps={steps}", "prompts_per_step=8", "group_size=8",
         "use_vllm=false"], capture_output=True, text=True)
    return {"size": size, "steps": steps, "limit": limit, "exit": done.returncode,
            "seconds": round(time.perf_counter() - start, 1), "end": done.stderr[-1500:],
            "adapter": sorted(p.name for p in (scratch / "thinkprune").glob("*"))}


def importance(data: Path, scratch: Path, *, size: str, rows: int) -> dict[str, Any]:
    """`drp prune` of real traces by a local model's scores: seconds and tokens it read."""
    model = random_weights(size, data, scratch / f"model-{size}")
    traces = scratch / "few.jsonl"
    with (data / "traces.jsonl").open() as lines:
        traces.write_text("".join(itertools.islice(lines, rows)))
    found: dict[str, Any] = {"size": size, "rows": rows}
    for name in ("entropy", "perplexity"):
        run = scratch / f"run-{name}"
        start = time.perf_counter()
        done = subprocess.run(
            [*DRP, "prune", str(traces), "-o", str(run), "--teacher", f"{name}:{model}",
             "--tokenizer", str(data / "tokenizer")], capture_output=True, text=True)
        found[name] = {"exit": done.returncode, "seconds": round(time.perf_counter() - start, 1),
                       "end": (done.stdout + done.stderr)[-1500:]}
        if (run / "stats.json").exists():
            usage = json.loads((run / "stats.json").read_text()).get("usage")
            found[name]["usage"] = usage
    return found


def demo(data: Path, scratch: Path) -> dict[str, Any]:
    """`drp demo`: traces, training, evaluation by lmms-eval and the report, all on the GPU."""
    start = time.perf_counter()
    done = subprocess.run([*DRP, "demo", "-o", str(scratch / "demo-run")], capture_output=True,
                          text=True)
    return {"exit": done.returncode, "seconds": round(time.perf_counter() - start, 1),
            "out": done.stdout[-3000:], "end": done.stderr[-3000:]}


PARTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "train 7b": (train, {"config": "drp_qwen7b.yaml", "size": "7b", "dataset": "pruned",
                         "steps": 10, "gradient_accumulation_steps": 8}),
    "train 7b original": (train, {"config": "drp_qwen7b.yaml", "size": "7b", "dataset": "original",
                                  "steps": 3, "gradient_accumulation_steps": 8}),
    "train 7b qlora": (train, {"config": "scale/qlora_24gb.yaml", "size": "7b",
                               "dataset": "pruned", "steps": 3}),
    "train 1_5b": (train, {"config": "drp_qwen1_5b.yaml", "size": "1_5b", "dataset": "pruned",
                           "steps": 10, "gradient_accumulation_steps": 8}),
    "memory 7b": (memory, {"size": "7b", "shapes": [
        [1, 1024], [1, 2048], [1, 4096], [2, 2048], [2, 4096], [4, 4096], [1, 8192]]}),
    "memory 7b qlora": (memory, {
        "size": "7b", "quantization_bit": 4, "quantization_method": "bnb",
        "double_quantization": True, "upcast_layernorm": True,
        "shapes": [[1, 1024], [1, 2048], [1, 4096], [2, 4096]]}),
    "memory 1_5b": (memory, {"size": "1_5b", "shapes": [[1, 4096], [2, 4096], [4, 4096]]}),
    "memory 1_5b, no checkpointing": (memory, {
        "size": "1_5b", "disable_gradient_checkpointing": True,
        "shapes": [[1, 1024], [1, 2048], [2, 2048], [2, 4096]]}),
    "memory 1_5b, all weights": (memory, {
        "size": "1_5b", "finetuning_type": "full", "shapes": [[1, 1024], [2, 4096]]}),
    "memory 1_5b, rank 64": (memory, {"size": "1_5b", "lora_rank": 64, "lora_alpha": 128,
                                      "shapes": [[1, 1024], [2, 4096]]}),
    "train 1_5b dpo": (train, {"config": "baselines/tale_pt_dpo_qwen1_5b.yaml", "size": "1_5b",
                               "dataset": "pairs", "steps": 4}),
    "importance 1_5b": (importance, {"size": "1_5b", "rows": 2}),
    "demo": (demo, {}),
    "greedy": (greedy, {"rows": 200}),
    "sampling 1_5b": (sampling, {"size": "1_5b", "rows": 64, "new": 256}),
    "thinkprune 1_5b": (thinkprune, {"size": "1_5b", "steps": 2, "limit": 256}),
}


def main() -> int:
    """Run the parts, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="see above")
    parser.add_argument("--make", type=Path, metavar="RUN_DIR", help="fill --data from a run")
    parser.add_argument("--tokenizer", help="the student whose tokenizer is taken")
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--scratch", type=Path, default=Path("gpu-scratch"))
    parser.add_argument("--only", action="append", choices=PARTS, help="a part by its name")
    parser.add_argument("--limit", type=float, default=240, help="seconds for one part")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        kind, given = PARTS[args.only[0]]
        print("\nFIGURES " + json.dumps(kind(args.data.resolve(), args.scratch.resolve(), **given)))
        return 0
    if args.make:
        make(args.data, args.make, args.tokenizer)
        return 0
    import torch

    if not torch.cuda.is_available() or args.data is None:
        print("no GPU here, or no --data: nothing measured")
        return 0
    found: dict[str, Any] = {"device": device()}
    for name in args.only or PARTS:
        start = time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, __file__, "--here", "--only", name, "--data", str(args.data),
                 "--scratch", str(args.scratch)], capture_output=True, text=True,
                timeout=args.limit)
            line = next((line for line in done.stdout.splitlines()
                         if line.startswith("FIGURES ")), None)
            found[name] = json.loads(line[8:]) if line else {"failed": done.stderr[-3000:]}
        except subprocess.TimeoutExpired as error:
            found[name] = {"failed": f"over {args.limit} s", "end": str(error.stderr)[-2000:]}
        found[name]["whole_seconds"] = round(time.perf_counter() - start, 1)
        args.output.write_text(json.dumps(found, indent=1))
        print(name, json.dumps(found[name])[:600], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
