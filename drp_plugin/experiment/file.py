"""The experiment's YAML: students, questions, methods, seeds, tasks, and where stages run."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from drp_plugin.errors import UserError, meant
from drp_plugin.given_yaml import load
from drp_plugin.jsonl import explain
from drp_plugin.records import Record
from drp_plugin.resources import resource, table

Kind = Literal["generate", "prune", "build", "train", "export", "evaluate", "report", "recipe"]
Seed = Annotated[int, Field(ge=0, lt=2 ** 32)]
Over = Annotated[float, Field(gt=0)]
Options = dict[str, Any]  # Of a command, by their names without dashes; a list repeats one


class FilePart(Record):
    """A part of the file: a key that it does not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Student(FilePart):
    """A model that is pruned for, trained and measured."""

    model: str  # Folder, hub name, or `tiny`: the embedded student
    config: str  # The YAML of `llamafactory_configs/` that its trainings start from
    parameters: float | None = None  # In billions, for the projected GPU hours


class Round(FilePart):
    """What one of several trainings changes of the method: in a chain, which continues with the
    same adapter (CoT-Valve+P), or in rounds, each of which samples anew."""

    generate: Options = {}
    prune: Options = {}  # `teacher: mixchain:4`
    build: Options = {}
    train: Options = {}


class MethodSection(FilePart):
    """A way to a shorter trace. An empty one is the student as it is."""

    prune: Options | None = None  # Options of `drp prune`; its `teacher` says how
    distill: Options | None = None  # Options of `drp distill`, instead of pruning
    rows_by: tuple[str, ...] = ()  # Or a command that writes rows of {questions} to {out}
    mix: tuple[str, ...] = ()  # Or methods of this file: the rows of them all in one set
    generate: Options = {}  # Options that differ from the experiment's (`samples: 4`)
    build: Options = {}
    train: Options = {}  # Settings of LLaMA-Factory that differ from the YAML's
    config: str | None = None  # Another YAML of `llamafactory_configs/` to train with
    chain: tuple[Round, ...] = ()  # Trainings, each going on with the adapter before
    recipe: tuple[str, ...] = ()  # A command instead of all this: {student}, {out}, {seed}, …
    adapter: str = ""  # Where below {out} it leaves a LoRA adapter; empty for a whole model
    export: bool = False  # Merge the adapter into a folder of its own, and measure that
    tasks: str = ""  # Suffix of the tasks: `tale` measures `drp_gsm8k_tale`
    evaluate: Options = {}  # Options of lmms-eval that differ from the experiment's
    checkpoint: str | None = None  # A published model: measured, never trained
    source: str = ""  # Where the checkpoint's prompt and sampling were looked up
    rounds: tuple[Round, ...] = Field(default=(Round(),), min_length=1)
    """Sample with the newest adapter, prune, train the student, measure: what each round does
    otherwise. A number N is that many equal ones at most."""
    stands_in: str = ""  # What stands in for the real thing, for the report

    @property
    def trains(self) -> bool:
        return self.prune is not None or self.distill is not None or bool(self.rows_by or self.mix)

    def changed(self, change: Round) -> "MethodSection":
        """The method with a round's changes."""
        return self.model_copy(update={name: {**(getattr(self, name) or {}), **options}
                                       for name, options in change.model_dump().items() if options})

    @field_validator("rounds", mode="before")
    @classmethod
    def _rounds(cls, given: Any) -> Any:
        """A number as that many rounds."""
        return (Round(),) * given if type(given) is int and 0 < given < 100 else given

    @field_validator("recipe", "rows_by", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        return tuple(given.split()) if isinstance(given, str) else given


class Launcher(FilePart):
    """How stages of a kind are started elsewhere."""

    prefix: str = ""  # Put before the command: `srun --gres=gpu:2`
    env: str | None = None  # An environment whose `bin/` holds the tools


class Hardware(FilePart):
    """What the projected GPU hours are computed with."""

    gpu: str = "A100 80GB"
    tflops: Over = 312.0  # Dense bf16 peak of one GPU (NVIDIA's data sheet for the A100: 312)
    # Share of the peak that LoRA training reaches: 0.19 measured on an H200 with rows of 1,300
    # tokens, 0.28 with 3,000 (`python benchmarks/gpu.py`); on the A100 assumed
    train_utilization: Over = 0.2
    decode_tokens_per_s: Over = 2500.0  # Of one GPU under a full batch: assumed
    trace_tokens: int = 2500  # Mean length of a trace before pruning


class Experiment(FilePart):
    """The whole file."""

    about: str = ""
    students: dict[str, Student] = Field(min_length=1)
    questions: tuple[str, ...] = ()  # What `drp generate` takes: sets, files, or `tiny:…`
    traces: tuple[str, ...] = ()  # Traces that are there already, instead of `questions`
    rows: int | None = Field(None, ge=1)  # Number of questions, for the projections
    generate: Options = {}
    build: Options = {}
    train: Options = {}
    tasks: tuple[str, ...] = Field(min_length=1)
    evaluate: Options = {}  # Options of lmms-eval; `model_args` is a mapping
    report: Options = {}
    seeds: tuple[Seed, ...] = Field((42,), min_length=1)  # Of the trainings
    draws: tuple[Seed, ...] = ()  # For sampled measurements: everything is measured with each
    methods: dict[str, Annotated[MethodSection, BeforeValidator(
        lambda given: {} if given is None else given)]] = Field(min_length=1)
    launcher: dict[Kind, Launcher] = {}
    hardware: Hardware = Hardware()


def read_experiment(path: Path) -> Experiment:
    """The file. Raises UserError that names the key."""
    try:
        experiment = Experiment.model_validate(_content(path))
    except ValidationError as error:
        first = error.errors()[0]
        fix = meant(str(first["loc"][-1]), {key for part in FilePart.__subclasses__()
                                            for key in part.model_fields})
        raise UserError(explain(error), file=path,
                        fix=fix if first["type"] == "extra_forbidden" else "") from None
    _check(experiment, path)
    return experiment


def _refuse(path: Path, key: str, **values: str) -> NoReturn:
    raise UserError(table("experiment.yaml")[key].format(**values), file=path)


def _content(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's mapping, merged over that of the file that its `base` names. Raises UserError."""
    if not path.is_file():
        shipped = resource("recipes") / f"{path.name.removesuffix('.yaml')}.yaml"
        if path.parent != Path() or not shipped.is_file():
            _refuse(path, "missing", shipped=", ".join(
                sorted(f.stem for f in resource("recipes").glob("*.yaml"))))
        path = shipped
    content = load(path)
    if not isinstance(content, dict):
        _refuse(path, "other")
    base = content.pop("base", None)
    if base is None:
        return content
    if not isinstance(base, str) or path.resolve() in above:
        _refuse(path, "base", base=repr(base))
    found = path.parent / base
    return _over(_content(found if found.is_file() else Path(base), (*above, path.resolve())),
                 content)


def _over(below: Any, above: Any) -> Any:
    """Two mappings merged, key by key where both have a mapping; else `above` wins."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def _check(experiment: Experiment, path: Path) -> None:
    """What keys say together. Raises UserError."""
    if bool(experiment.questions) == bool(experiment.traces):
        _refuse(path, "input")
    for key, seeds in (("seeds", experiment.seeds), ("draws", experiment.draws)):
        if len(set(seeds)) < len(seeds):
            _refuse(path, "twice", what=key, seeds=", ".join(map(str, seeds)))
    known = {f"drp_{file.stem.removeprefix('drp_')}".removesuffix("_drp")
             for file in resource("lmms_eval_tasks").glob("*.yaml")}
    slugs: dict[str, str] = {}
    for name in (*experiment.students, *experiment.methods):
        if (other := slugs.setdefault(slug(name), name)) != name:
            _refuse(path, "folder", name=name, other=other)
    for name, method in experiment.methods.items():
        trained = {**experiment.train, **method.train}
        own = {"output_dir", *["seed"] * (len(experiment.seeds) > 1)} & trained.keys()
        ways = [way for way in ("prune", "distill", "rows_by", "mix", "recipe", "checkpoint")
                if getattr(method, way)]
        for wrong, key in (
                ("=" in name, "equals"), (own, "train"), (len(ways) > 1, "ways"),
                (method.prune is not None and "teacher" not in method.prune, "teacher"),
                ((method.chain or len(method.rounds) > 1) and not method.trains, "rounds"),
                (any(step.generate for step in method.chain), "chain")):
            if wrong:
                _refuse(path, key, name=name, own=" and ".join(own), ways=" and ".join(ways))
        for task in (f"{task}{method.tasks and '_'}{method.tasks}" for task in experiment.tasks):
            if task.startswith("drp") and task not in known and "include_path" not in {
                    **experiment.evaluate, **method.evaluate}:
                _refuse(path, "task", task=task, fix=meant(task, known, "See docs/evaluation.md"))
        for part in method.mix:
            found = experiment.methods.get(part, MethodSection())
            if not found.trains or found.mix or any(
                    m.chain or len(m.rounds) > 1 for m in (method, found)):
                _refuse(path, "mix", name=name, part=part)


def slug(name: str) -> str:
    """A name as a folder's: lower case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "x"
