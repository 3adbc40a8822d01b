"""Write llamafactory_configs/: every experiment from one source, so that files do not repeat.

    python scripts/make_configs.py            write the files
    python scripts/make_configs.py --check    exit with 1 when a file is not up to date

LLaMA-Factory's YAML has no inheritance; here an experiment is a base and what differs from it.
Comments belong to settings: a setting that stands in Appendix B carries none, one that goes
beyond it says why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "llamafactory_configs"
PREFIX = "llamafactory_configs/"


class Set(str):
    """The YAML text of a value, with the comment that stands behind it."""

    note: str = ""

    def __new__(cls, value: object, note: str = "") -> Set:
        text = super().__new__(cls, str(value).lower() if isinstance(value, bool) else str(value))
        text.note = note
        return text


Section = Mapping[str, Set]


@dataclass(frozen=True)
class Experiment:
    """One YAML: its header, its commands, and its settings by section."""

    name: str
    """Path below llamafactory_configs/, without suffix."""
    title: str
    sections: Mapping[str, Section]
    commands: tuple[str, ...] = ("llamafactory-cli train {file}",)
    notes: tuple[str, ...] = ()

    def derive(self, name: str, title: str, *, commands: tuple[str, ...] | None = None,
               notes: tuple[str, ...] = (), drop: tuple[str, ...] = (),
               **changes: object) -> Experiment:
        """This experiment under another name, with settings changed, added or dropped.

        A changed setting keeps its section and loses its comment; a new one goes to the section
        that NEW names.
        """
        sections = {s: {k: v for k, v in values.items() if k not in drop}
                    for s, values in self.sections.items()}
        for key, value in changes.items():
            value = value if isinstance(value, Set) else Set(value)
            home = next((s for s, values in sections.items() if key in values), None)
            sections.setdefault(home or NEW[key], {})[key] = value
        return replace(self, name=name, title=title, sections=sections, notes=notes,
                       commands=self.commands if commands is None else commands)

    def merge(self) -> list[str]:
        """The command that merges what this trains; none for a file that is itself an export."""
        output = self.sections.get("output", {}).get("output_dir")
        if not output:
            return []
        student = next(base for base in (DRP_7B, DRP_SMALL, DRP_TINY)
                       if base.sections["model"]["model_name_or_path"]
                       == self.sections["model"]["model_name_or_path"])
        command = f"llamafactory-cli export {PREFIX}export/{student.name}.yaml"
        return [command] if student is self else merge_of(command, output)

    def text(self) -> str:
        """The file."""
        lines = [f"# {self.title}", "#"]
        lines += [f"#   {command}" for command in (
            *(c.format(file=f"{PREFIX}{self.name}.yaml") for c in self.commands), *self.merge())]
        if self.notes:
            lines += ["#", *(f"# {note}" for note in self.notes)]
        for section, values in self.sections.items():
            if not values:
                continue
            lines += ["", f"### {section}"]
            for key, value in values.items():
                line = f"{key}: {value}"
                lines.append(f"{line}  # {value.note}" if value.note else line)
        return "\n".join(lines) + "\n"


NEW = {"lora_dropout": "method", "pref_beta": "method", "pref_loss": "method",
       "adapter_name_or_path": "model", "quantization_bit": "model", "quantization_type": "model",
       "quantization_method": "model", "double_quantization": "model", "upcast_layernorm": "model",
       "deepspeed": "train", "use_cpu": "train", "max_grad_norm": "train", "ray_num_workers": "ray",
       "ray_init_kwargs": "ray", "optim": "train", "ddp_timeout": "train",
       "disable_gradient_checkpointing": "train"}

SEVEN = Set("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B")
SMALL = Set("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B")

DRP_7B = Experiment(
    "drp_qwen7b", "DRP on DeepSeek-R1-Distill-Qwen-7B, the paper's settings (Appendix B)",
    {
        "model": {
            "model_name_or_path": SEVEN,
        },
        "method": {
            "stage": Set("sft"),
            "do_train": Set(True),
            "finetuning_type": Set("lora"),
            "lora_target": Set("all", "the paper says LoRA and names no layers: all linear ones"),
            "lora_rank": Set(8, "not in the paper: the framework's default, written down"),
            "lora_alpha": Set(16, "likewise"),
        },
        "dataset": {
            "dataset": Set("drp_gsm8k_prm12k",
                           "made by: drp build RUN_DIR... -o data --name drp_gsm8k_prm12k"),
            "dataset_dir": Set("data", "from where the command is run"),
            "template": Set("deepseekr1", "R1-Distill's own layout, not `qwen`"),
            "cutoff_len": Set(4096),
            "max_samples": Set(8000),
            "overwrite_cache": Set(True),
            "preprocessing_num_workers": Set(8),
        },
        "output": {
            "output_dir": Set("saves/drp_qwen7b"),
            "logging_steps": Set(10, "not in the paper"),
            "save_steps": Set(300, "at each evaluation; run the command again to go on from there"),
            "plot_loss": Set(True, "not in the paper: loss curve as PNG"),
            "report_to": Set("none", "or wandb, tensorboard, swanlab"),
        },
        "train": {
            "per_device_train_batch_size": Set(2),
            "gradient_accumulation_steps": Set(4, "16 rows a step on the paper's two GPUs"),
            "learning_rate": Set("3.0e-5"),
            "num_train_epochs": Set("3.0"),
            "lr_scheduler_type": Set("cosine"),
            "warmup_ratio": Set(0.1, "not in the paper: the authors' released code"),
            "bf16": Set(True),
            "ddp_timeout": Set(180000000, "not in the paper: tokenizing may outlast the default"),
        },
        "eval": {
            "val_size": Set(0.05),
            "eval_strategy": Set("steps"),
            "eval_steps": Set(300),
            "per_device_eval_batch_size": Set(2, "not in the paper"),
        },
    },
    notes=("On two GPUs, as in the paper, LLaMA-Factory starts torchrun by itself. On one, set",
           "gradient_accumulation_steps to 8 to keep 16 rows a step."),
)

DRP_SMALL = DRP_7B.derive(
    "drp_qwen1_5b", "DRP on DeepSeek-R1-Distill-Qwen-1.5B, the paper's settings (Appendix B)",
    notes=DRP_7B.notes, model_name_or_path=SMALL, output_dir="saves/drp_qwen1_5b")

DRP_TINY = DRP_7B.derive(
    "drp_tiny", "DRP on the embedded toy student, on a CPU, in minutes",
    commands=("OMP_NUM_THREADS=1 llamafactory-cli train {file}",),
    notes=("One thread is several times faster than many for a model of this size.",),
    drop=("max_samples", "ddp_timeout", "eval_steps"),
    model_name_or_path=Set("drp_plugin/student/model", "ships with the package"),
    dataset="drp_tiny", cutoff_len=Set(2048, "the toy's rows are far shorter"),
    preprocessing_num_workers=Set(1, "processes cost more than they give here"),
    output_dir="saves/drp_tiny", save_steps=Set(100), logging_steps=5,
    lora_target="all", lora_rank=8, lora_alpha=16,
    per_device_train_batch_size=8, gradient_accumulation_steps=1,
    learning_rate=Set("5.0e-4", "a toy from scratch needs larger steps than a 7B model"),
    num_train_epochs=Set("2.0", "more of them cost the toy accuracy on other problems"),
    bf16=Set(False, "fp32: CPUs are slow at bf16"), use_cpu=True,
    disable_gradient_checkpointing=Set(True, "a third faster, and memory is no issue"),
    eval_strategy=Set("epoch"), per_device_eval_batch_size=8)


def merge_of(command: str, folder: str) -> list[str]:
    """An export command for the adapter in `folder`, on two lines."""
    return [f"{command} \\", f"  adapter_name_or_path={folder} export_dir={folder}_merged"]


def export(student: Experiment) -> Experiment:
    """The YAML that merges an adapter of this student: its DRP adapter, or any on request."""
    command = "llamafactory-cli export {file}"
    return Experiment(
        f"export/{student.name}", f"Merge an adapter into the student of {student.name}.yaml",
        {"model": {"model_name_or_path": student.sections["model"]["model_name_or_path"],
                   "adapter_name_or_path": student.sections["output"]["output_dir"],
                   "template": Set("deepseekr1"),
                   "infer_dtype": Set("float32" if student is DRP_TINY else "bfloat16")},
         "export": {"export_dir": Set(f"saves/{student.name}_merged"),
                    "export_size": Set(5, "gigabytes a file"),
                    "export_device": Set("cpu", "or auto for a GPU"),
                    "export_legacy_format": Set(False, "safetensors")}},
        commands=(command, *merge_of(command, "saves/ADAPTER")),
        notes=("The first merges the adapter of that file, the second any other of this student.",
               "Each training file names its own command."))


def ablations() -> Iterator[Experiment]:
    """§6: what the decomposition, the pruning and the teacher are worth."""
    for name, dataset, title in (
        ("default_split", "drp_default_split", "default step split instead of skills (§6.1)"),
        ("direct_distill", "direct_distill", "the teacher's own short answers (§6.2)"),
        ("teacher_gemini", "drp_gemini", "Gemini 2.0 Flash as the teacher (§6.3)"),
        ("teacher_chatgpt", "drp_chatgpt", "ChatGPT as the teacher (§6.3)"),
    ):
        made = {
            "default_split": "drp prune TRACES -o RUN_DIR --teacher openai:gpt-4o "
                             "--decompose default",
            "direct_distill": "drp distill QUESTIONS -o RUN_DIR --teacher openai:gpt-4o",
            "teacher_gemini": "drp prune TRACES -o RUN_DIR --teacher gemini:gemini-2.0-flash",
            "teacher_chatgpt": "drp prune TRACES -o RUN_DIR --teacher openai:gpt-3.5-turbo",
        }[name]
        yield DRP_7B.derive(
            f"ablations/{name}_qwen7b", f"Ablation: {title}",
            notes=("Its data:", f"  {made}", f"  drp build RUN_DIR -o data --name {dataset}",
                   "All else is drp_qwen7b.yaml."),
            dataset=dataset, output_dir=f"saves/{name}_qwen7b")


STUDENTS = (("qwen7b", SEVEN), ("qwen1_5b", SMALL))


def cot_valve() -> Iterator[Experiment]:
    """CoT-Valve+P: five rounds over shorter and shorter chains, one adapter all the way."""
    for student, model in STUDENTS:
        for solution in (4, 3, 2, 1, 0):
            first = solution == 4
            yield DRP_7B.derive(
                f"baselines/cot_valve_{student}_s{solution}",
                f"CoT-Valve+P, round {5 - solution} of 5: solution {solution}, "
                + ("the longest chains" if first else "the shortest" if solution == 0
                   else "shorter chains"),
                notes=("Its data, from several samples of each question:",
                       f"  drp prune traces.jsonl -o s{solution} --teacher mixchain:{solution}",
                       f"  drp build s{solution} -o data --name cot_valve_s{solution}",
                       *(() if first else (f"Continues the adapter of round {4 - solution}.",)),
                       *(() if solution else (
                           "At strength α (0.4 to 0.8 longer chains, 1.2 shorter ones):",
                           "  python recipes/cot_valve/scale.py \\",
                           f"    saves/cot_valve_{student}_s0 0.6 "
                           f"-o saves/cot_valve_{student}_alpha0.6",
                           "and the same export with that folder as the adapter."))),
                model_name_or_path=model, dataset=f"cot_valve_s{solution}",
                output_dir=f"saves/cot_valve_{student}_s{solution}",
                lora_rank=Set(32, "the method's own, as are the settings below without a comment"),
                lora_alpha=64, learning_rate="4.0e-5",
                num_train_epochs=Set("1.0", "one epoch a round"),
                gradient_accumulation_steps=Set(16, "64 rows a step on two GPUs"),
                **({} if first else {"adapter_name_or_path": Set(
                    f"saves/cot_valve_{student}_s{solution + 1}",
                    "trained on, not replaced: one direction all the way")}))


def tale() -> Iterator[Experiment]:
    """TALE-PT: the budget learnt, so that it need not be in the prompt."""
    for student, model in STUDENTS:
        sft = DRP_7B.derive(
            f"baselines/tale_pt_sft_{student}", "TALE-PT by supervised fine-tuning",
            notes=("Its data, answers under a token budget to questions without it:",
                   f"  drp prune traces.jsonl -o budgeted --teacher tale-search:{model}",
                   "  drp build budgeted -o data --name tale_pt_sft"),
            model_name_or_path=model, dataset="tale_pt_sft",
            output_dir=f"saves/tale_pt_sft_{student}",
            lora_target=Set("q_proj,v_proj", "the method's own, as are alpha, rate and epochs"),
            lora_rank=8, lora_alpha=32, learning_rate="1.0e-3", num_train_epochs="2.0")
        yield sft
        yield sft.derive(
            f"baselines/tale_pt_dpo_{student}", "TALE-PT by direct preference optimization",
            notes=("Its data, the budgeted answer chosen and the student's own rejected:",
                   f"  drp prune traces.jsonl -o budgeted --teacher tale-search:{model}",
                   "  drp build budgeted -o data --name tale_pt_dpo --pairs"),
            stage="dpo", pref_beta=Set(0.5), pref_loss="sigmoid", dataset="tale_pt_dpo",
            output_dir=f"saves/tale_pt_dpo_{student}",
            learning_rate=Set("1.0e-5", "none is published for DPO; that of SFT is too large"),
            per_device_train_batch_size=Set(1, "a pair is two rows"),
            gradient_accumulation_steps=8)


def scale() -> Iterator[Experiment]:
    """The same training on other machines; always 16 rows a step."""
    yield DRP_7B.derive(
        "scale/torchrun_2gpu", "DRP 7B on two GPUs of one machine, torchrun said explicitly",
        commands=("FORCE_TORCHRUN=1 NPROC_PER_NODE=2 llamafactory-cli train {file}",),
        notes=("A YAML path with spaces in it breaks torchrun.",),
        output_dir="saves/drp_qwen7b_torchrun")
    yield DRP_7B.derive(
        "scale/torchrun_8gpu", "DRP 7B on eight GPUs of one machine",
        commands=("FORCE_TORCHRUN=1 NPROC_PER_NODE=8 llamafactory-cli train {file}",),
        gradient_accumulation_steps=Set(1, "8 x 2 = 16 rows a step, as in the paper"),
        output_dir="saves/drp_qwen7b_8gpu")
    for stage in (2, 3):
        yield DRP_7B.derive(
            f"scale/deepspeed_zero{stage}", f"DRP 7B with DeepSpeed ZeRO-{stage} on two GPUs",
            commands=("pip install deepspeed",
                      "FORCE_TORCHRUN=1 NPROC_PER_NODE=2 llamafactory-cli train {file}"),
            notes=("ZeRO-2 shards optimizer state and gradients, ZeRO-3 the weights as well.",),
            deepspeed=Set(f"{PREFIX}deepspeed/zero{stage}.json"),
            output_dir=f"saves/drp_qwen7b_zero{stage}")
    yield DRP_7B.derive(
        "scale/fsdp", "DRP 7B with PyTorch FSDP on two GPUs",
        commands=(f"accelerate launch --config_file {PREFIX}accelerate/fsdp.yaml \\",
                  "  -m llamafactory.launcher {file}"),
        notes=("accelerate starts the processes; the sharding is in accelerate/fsdp.yaml.",),
        output_dir="saves/drp_qwen7b_fsdp")
    yield DRP_7B.derive(
        "scale/multinode", "DRP 7B on two machines with eight GPUs each",
        commands=("FORCE_TORCHRUN=1 NNODES=2 NODE_RANK=0 NPROC_PER_NODE=8 \\",
                  "  MASTER_ADDR=10.0.0.1 MASTER_PORT=29500 llamafactory-cli train {file}",
                  "FORCE_TORCHRUN=1 NNODES=2 NODE_RANK=1 NPROC_PER_NODE=8 \\",
                  "  MASTER_ADDR=10.0.0.1 MASTER_PORT=29500 llamafactory-cli train {file}"),
        notes=("The first command on the machine MASTER_ADDR, the second on the other. data/ and",
               "the model must be there on both."),
        per_device_train_batch_size=Set(1, "16 x 1 = 16 rows a step, as in the paper"),
        gradient_accumulation_steps=1, output_dir="saves/drp_qwen7b_multinode")
    yield DRP_7B.derive(
        "scale/ray", "DRP 7B on a Ray cluster",
        commands=("pip install 'drp-plugin[ray]'", "USE_RAY=1 llamafactory-cli train {file}"),
        notes=("LLaMA-Factory asks Ray for 10 CPUs with each GPU of the cluster and waits until it",
               "has them: on nodes with fewer cores say more, `ray start --head --num-cpus 20`.",
               "It asks Ray's dashboard where the head is: a bare `pip install ray` has none.",
               "Paths must be the same on all nodes: `drp init` writes absolute ones."),
        ray_num_workers=Set(2, "GPUs; keep workers x batch x accumulation at 16"),
        output_dir="saves/drp_qwen7b_ray")
    yield DRP_7B.derive(
        "scale/qlora_24gb", "DRP 7B on one card of 24 GB: 4-bit weights (QLoRA)",
        commands=("pip install 'drp-plugin[qlora]'", "llamafactory-cli train {file}"),
        notes=("The second command merges into the unquantized model, as it must be.",),
        quantization_bit=Set(4), quantization_method="bnb", quantization_type="nf4",
        double_quantization=True,
        upcast_layernorm=Set(True, "as LLaMA-Factory recommends for quantized weights"),
        per_device_train_batch_size=Set(1),
        gradient_accumulation_steps=Set(16, "16 rows a step, as in the paper"),
        optim=Set("paged_adamw_8bit", "spares memory at the peaks"),
        output_dir="saves/drp_qwen7b_qlora")


def experiments() -> list[Experiment]:
    """Every file, training ones first."""
    training = [DRP_7B, DRP_SMALL, DRP_TINY, *ablations(), *cot_valve(), *tale(), *scale()]
    return [*training, *map(export, (DRP_7B, DRP_SMALL, DRP_TINY))]


def files() -> dict[Path, str]:
    """Path and text of every generated file."""
    return {ROOT / f"{e.name}.yaml": e.text() for e in experiments()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    wanted = files()
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text() != text]
    hand_made = {ROOT / "accelerate" / "fsdp.yaml"}
    extra = [p for p in ROOT.rglob("*.yaml") if p not in wanted and p not in hand_made]
    if check:
        for path in stale + extra:
            print(f"not up to date: {path.relative_to(ROOT.parent)}", file=sys.stderr)
        return 1 if stale or extra else 0
    for path in extra:
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    print(f"{len(wanted)} files, {len(stale)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
