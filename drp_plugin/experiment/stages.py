"""A stage of an experiment: one command, what it needs, how it is known whether it has to run, and
its projected cost: arithmetic over stated inputs. For the teacher a pilot of the real rows is
better: `drp prune … --forecast`."""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.experiment.file import Experiment, slug
from drp_plugin.llm.prices import find_price
from drp_plugin.records import Usage
from drp_plugin.resources import table
from drp_plugin.scoring.samples import VARIANT

TAIL_BYTES = 4096
LEAST = 0.03  # Relative changes of the mean tokens below this count as none
_PART = re.compile(rb"(\d{1,3}(?:\.\d+)?)\s?%|drp: [^%\n]*?(\d+)/(\d+), ")


@dataclass(frozen=True)
class Stage:
    """One command."""

    name: str
    title: str
    command: tuple[str, ...]
    outputs: tuple[Path, ...]  # What a finished stage has made; parts with a `*` are patterns
    asked: tuple[str, ...] = ()  # The same without its launcher: tool and arguments only
    kind: str = ""  # `file.Kind`: what it does.
    needs: tuple[str, ...] = ()  # Names of the stages whose outputs it reads
    method: str = ""  # The method that it is for; empty where it is for all
    cwd: Path | None = None
    clears: Path | None = None  # Outputs of a run with other settings are removed first
    still: tuple[str, ...] = ()  # Earlier rounds; skipped unless their results `moved`

    @property
    def task(self) -> tuple[str, ...]:
        return self.asked or self.command

    def made_all(self) -> bool:
        fixed = [next((above for above in path.parents if "*" not in str(above)), path.parent)
                 for path in self.outputs]
        return all(any(above.glob(str(path.relative_to(above))))
                   for above, path in zip(fixed, self.outputs, strict=True))


class Marks:
    """Which stages are done, on disk. A mark is a digest of the command and of the digests of all
    that it needs, the run that made it, and the runs that it stands on: a changed setting, or
    something made again, redoes the stage and what depends on it, nothing else. The launcher, the
    environment and the place of the experiment's folder do not count."""

    def __init__(self, folder: Path, stages: Iterable[Stage]) -> None:
        self.folder = folder
        self._digests: dict[str, str] = {}
        place = json.dumps(str(folder.resolve().parent))[1:-1]
        for stage in stages:
            needed = [self._digests[name] for name in stage.needs if name in self._digests]
            text = json.dumps([needed, stage.task, _read(stage)]).replace(place, ".")
            self._digests[stage.name] = hashlib.sha256(text.encode()).hexdigest()[:16]

    def done(self, stage: Stage) -> bool:
        """Whether this very stage has finished and its outputs still exist."""
        digest, _, stands_on = self._mark(stage.name)
        return digest == self._digests[stage.name] and stands_on == self._runs(stage) \
            and stage.made_all()

    def set(self, stage: Stage, begun: str = "") -> None:
        with jsonl.replacing(self._path(stage.name + begun)) as file:
            file.write(f"{self._digests[stage.name]}\n{uuid.uuid4().hex}\n{self._runs(stage)}\n")

    def begin(self, stage: Stage) -> None:
        """Undo its mark. Remember the digest that it begins with; clear what another left."""
        self._path(stage.name).unlink(missing_ok=True)
        if stage.clears is not None and \
                self._mark(stage.name + ".begun")[0] != self._digests[stage.name]:
            shutil.rmtree(stage.clears, ignore_errors=True)
            self.set(stage, ".begun")

    def _runs(self, stage: Stage) -> str:
        return "".join(self._mark(need)[1] for need in stage.needs)

    def _mark(self, name: str) -> list[str]:
        """Digest, run, and runs that it stands on; earlier releases kept the digest alone."""
        with contextlib.suppress(FileNotFoundError):
            text = self._path(name).read_text("ascii", "replace")
            return [*text.split("\n"), "", ""][:3]
        return ["", "", ""]

    def _path(self, name: str) -> Path:
        return self.folder / name.replace("/", "__")


def _read(stage: Stage) -> list[str]:
    """Size and time of the files that a command names and no stage makes: the user's own input."""
    if stage.needs or stage.kind not in ("generate", "prune"):
        return []
    files = [Path(word) for word in stage.task[1:]
             if Path(word) not in stage.outputs and os.path.isfile(word)]
    return [f"{f} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]


def fraction(log: Path) -> float | None:
    """The last percentage or `done/total` at the end of a running log, 0 to 1, for display."""
    with contextlib.suppress(OSError, IndexError, ArithmeticError), open(log, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - TAIL_BYTES))
        percent, done, total = _PART.findall(file.read())[-1]
        value = float(percent) / 100 if percent else int(done) / int(total)
        return value if value <= 1 else None
    return None


def moved(measured: tuple[str, ...]) -> bool:
    """Whether the last measurement's tokens differ from those before; True for fewer than two."""
    before, after = [None, None, *(_tokens(Path(folder)) for folder in measured)][-2:]
    return before is None or after is None or abs(after - before) > LEAST * before


def _tokens(folder: Path) -> float | None:
    """Mean tokens a completion over all tasks of a measurement; None where there is none. Raises
    UserError for a damaged file."""
    files = sorted(folder.glob("*/*_results.json"))
    try:
        results = json.loads(files[-1].read_bytes()).get("results", {}) if files else {}
        means = [float(r["tokens,none"]) for r in results.values() if "tokens,none" in r]
    except (ValueError, TypeError, AttributeError):
        raise UserError("not the results of a measurement", file=files[-1],
                        fix="Remove it: the next run measures again") from None
    return sum(means) / len(means) if means else None


class Projection(NamedTuple):
    """What a stage is expected to take; None where it takes nothing or nothing is known."""

    usd: float | None
    gpu_hours: float | None
    formula: str


def project(stage: Stage, experiment: Experiment, stages: Sequence[Stage]) -> Projection:
    """A stage's cost. Figures need the experiment's `rows`, the student's `parameters`, and for a
    training the build among `stages` that makes its set."""
    student = next((s for name, s in experiment.students.items()
                    if stage.name.startswith(f"{slug(name)}/")), None)
    rows, size = experiment.rows, student.parameters if student else None
    if student and size is not None and stage.kind == "evaluate":
        return _decoding(experiment, _measured(stage, student.model))
    if rows is not None and student and stage.kind == "prune":
        return _teacher(stage, experiment, rows)
    if rows is not None and size is not None and stage.kind == "generate":
        samples = int(_option(stage.command, "--samples", "1"))
        return _decoding(experiment, [(rows, samples, experiment.hardware.trace_tokens)])
    if rows is not None and size is not None and stage.kind == "train":
        built = next(s.task for s in stages if s.name in stage.needs and "--name" in s.task)
        runs = built.index("-o") - built.index("build") - 1
        most = (_option(built, "--size"), _option(stage.task, "max_samples"))
        rows = min([rows * runs, *(int(n) for n in most if n.isdigit())])
        return _training(stage, experiment, rows, size)
    return Projection(None, None, "")


def _option(words: Sequence[str], name: str, default: str = "") -> str:
    found = dict(itertools.pairwise(words)) | dict(w.split("=", 1) for w in words if "=" in w)
    return found.get(name, default)


def _teacher(stage: Stage, experiment: Experiment, rows: int) -> Projection:
    teacher = _option(stage.command, "--teacher")
    price = find_price(teacher, override=_option(stage.command, "--price") or None,
                       hosted="--base-url" not in stage.command)
    if price is None:
        return Projection(None, None, f"no price is known for {teacher}"
                          if teacher.startswith(("openai:", "gemini:", "azure:")) else "")
    asked, trace = table("projection.yaml")["teacher"], experiment.hardware.trace_tokens
    prompt, completion = asked["distilled"]
    if "distill" not in stage.command:
        given, made = asked["tokens"][_option(stage.command, "--decompose", "skill")]
        prompt, completion = given * trace + asked["overhead"], made * trace
    batch = "--batch" in stage.command
    usd = price.cost(Usage(requests=1, prompt_tokens=round(rows * prompt),
                           completion_tokens=round(rows * completion)), batch=batch)
    return Projection(usd, None, f"{rows:,} rows × ({prompt:,.0f} tokens in × ${price.input:g} + "
                      f"{completion:,.0f} out × ${price.output:g}) / 10⁶"
                      + (f" × {price.batch:g} (batch)" if batch else ""))


def _decoding(experiment: Experiment, sets: Sequence[tuple[int, int, int]]) -> Projection:
    """GPU hours of completions: for each set its questions, samples a question, mean tokens."""
    speed = experiment.hardware.decode_tokens_per_s
    parts = " + ".join(f"{n:,} × {k} × {length:,}" for n, k, length in sets)
    hours = sum(n * k * length for n, k, length in sets) / speed / 3600 if sets else None
    return Projection(None, hours, f"{parts} tokens / {speed:,.0f} tokens/s" if sets else "")


def _measured(stage: Stage, model: str) -> list[tuple[int, int, int]]:
    """The question sets of an evaluation by shipped tasks, see `_decoding`."""
    known, size = table("projection.yaml"), "1.5B" if "1.5B" in model else "7B"
    repeats = re.search(r"(?:\brepeats|--num_samples)[= ](\d+)", " ".join(stage.command))
    found: list[tuple[int, int, int]] = []
    for task in _option(stage.command, "--tasks").split(","):
        plain = VARIANT.sub("", task)
        for name in known["groups"].get(plain, [plain.removeprefix("drp_")]):
            if one := known["sets"].get(name):
                k = one["sampled"] if task.endswith("_sampled") else 1
                found.append((one["problems"], int(repeats[1]) if repeats else k, one[size]))
    return found


def _training(stage: Stage, experiment: Experiment, rows: int, parameters: float) -> Projection:
    hardware, epochs = experiment.hardware, float(_option(stage.command, "num_train_epochs", "3"))
    learned = rows * hardware.trace_tokens * 0.5  # about half is left
    # LoRA, 2 FLOPs a parameter each: forward, forward again (checkpointing), gradients of inputs
    flops = 6 * parameters * 1e9 * learned * epochs
    hours = flops / (hardware.tflops * 1e12 * hardware.train_utilization) / 3600
    return Projection(None, hours, f"6 × {parameters:g}e9 parameters × {learned:,.0f} tokens × "
        f"{epochs:g} epochs / ({hardware.tflops:g} TFLOP/s × {hardware.train_utilization:g})")
