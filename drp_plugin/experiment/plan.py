"""From an experiment's file to its stages: the same commands that a person would type."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drp_plugin.errors import UserError
from drp_plugin.experiment.file import (
    Experiment,
    Kind,
    MethodSection,
    Options,
    Round,
    Student,
    slug,
)
from drp_plugin.experiment.stages import Stage
from drp_plugin.resources import resource
from drp_plugin.student import model_path


def flags(options: Options) -> list[str]:
    """Options as on a command line: `True` is a flag alone, `False` its `--no-` form."""
    found: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            found.append(option if value else f"--no-{option[2:]}")
        elif value is not None:
            for one in value if isinstance(value, list) else [value]:
                found += [option, str(one)]
    return found


def settings(options: Options) -> list[str]:
    """Settings as LLaMA-Factory takes them behind its YAML, which it reads as YAML again."""
    def word(value: Any) -> str:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return text if isinstance(value, Path) or yaml.safe_load(text) == value \
            else json.dumps(value)

    return [f"{key}={word(value)}" for key, value in options.items()]


@dataclass
class Plan:
    """Collects the stages of an experiment below `folder`; each is there once."""

    experiment: Experiment
    folder: Path
    stages: dict[str, Stage] = field(default_factory=dict)

    def add(self, kind: Kind, name: str, title: str, command: list[str], *outputs: Path,
            **more: Any) -> str:
        """Add a stage, with `more` of its fields, whose command begins with a tool's name."""
        launcher = self.experiment.launcher.get(kind)
        tool, *rest = command
        prefix = launcher.prefix.split() if launcher else []
        self.stages.setdefault(name, Stage(
            name=name, title=title, kind=kind, outputs=outputs,
            command=(*prefix, *_tool(tool, launcher.env if launcher else None), *rest), **more))
        return name

    def report(self, student: str, measured: list[tuple[str, Path, str]]) -> None:
        out = self.folder / student / "report"
        labels = [f"{label}={path}" for label, path, _ in measured]
        self.add("report", f"{student}/report", "tables and figures: drp report",
                 ["drp", "report", *labels, "-o", str(out), *flags(self.experiment.report)],
                 out / "results.json", needs=tuple(name for *_, name in measured))


def _tool(name: str, env: str | None) -> tuple[str, ...]:
    """A tool of an environment: this one's, also where it is not on PATH, or the launcher's."""
    binaries = Path(env) / "bin" if env else Path(sys.executable).parent
    if env is None and name in ("drp", "lmms-eval"):
        # -P: what lies in the stage's folder is no part of the program
        return sys.executable, "-P", "-m", {"drp": "drp_plugin", "lmms-eval": "lmms_eval"}[name]
    return (str(binaries / name),) if env or (binaries / name).exists() else (name,)


def make_plan(experiment: Experiment, folder: Path) -> list[Stage]:
    """Every stage, each behind the ones that it needs."""
    plan = Plan(experiment, folder)
    for name, student in experiment.students.items():
        measured: list[tuple[str, Path, str]] = []
        for label, method in experiment.methods.items():
            for draw in experiment.draws or (None,):
                measured += _Way(plan, slug(name), student, label, method, draw).measured()
        plan.report(slug(name), measured)
    return list(plan.stages.values())


@dataclass
class _Way:
    """One method for one student."""

    plan: Plan
    student_name: str
    student: Student
    label: str
    method: MethodSection
    draw: int | None = None  # The seed of its measurements, where the file has any

    def __post_init__(self) -> None:
        self.home = self.plan.folder / self.student_name
        self.work = self.home / "training"
        self.slug = slug(self.label)
        self.model = str(model_path()) if self.student.model == "tiny" else self.student.model
        self.name = f"{self.student_name}/{self.slug}"

    def measured(self) -> Iterator[tuple[str, Path, str]]:
        """Label, folder and stage of everything of this method that lmms-eval measures."""
        experiment, method = self.plan.experiment, self.method
        if method.checkpoint or not (method.trains or method.recipe):
            yield self._evaluate(self.slug, method.checkpoint or self.model, None, ())
            return
        for seed in experiment.seeds:
            if method.recipe:
                yield self._evaluate(f"{self.slug}-s{seed}", *self._recipe(seed))
                continue
            adapter: tuple[Path, str] | None = None
            moved: tuple[str, ...] = ()
            for turn in range(1, method.rounds + 1):
                part = f"{self.slug}-r{turn}" if method.rounds > 1 else self.slug
                adapter = self._train(part, seed, turn, adapter, moved)
                label, out, stage = self._evaluate(f"{part}-s{seed}", *self._trained(
                    part, seed, adapter), moved)
                yield (f"{self.label} r{turn}" if method.rounds > 1 else label), out, stage
                moved = (*moved, str(out))

    def _runs(self, part: str, adapter: tuple[Path, str] | None, still: tuple[str, ...],
              more: Options) -> list[tuple[Path, str]]:
        """The run directories that the set is built from, and their stages."""
        experiment, method = self.plan.experiment, self.method
        runs = []
        for questions in experiment.questions or experiment.traces:
            where = slug(Path(questions).stem if "/" in questions else questions)
            out = self.home / "runs" / part / where
            if method.rows_by:
                file = out.with_suffix(".jsonl")
                runs.append((file, self.plan.add(
                    "prune", f"{self.name}/rows/{part}/{where}",
                    f"{self.label}: {questions}: its own rows",
                    self._words(method.rows_by, out=str(file), questions=questions), file,
                    method=self.label)))
                continue
            if method.distill is None:
                command, given = "prune", method.prune or {}
                source, needs = self._traces(part, questions, where, adapter, still)
            else:
                command, given, source, needs = "distill", method.distill, questions, ()
            runs.append((out, self.plan.add(
                "prune", f"{self.name}/{command}/{part}/{where}",
                f"{self.label}: {questions}: drp {command}",
                [word.replace("{student}", self.model) for word in (
                    "drp", command, source, "-o", str(out), *flags({**given, **more}))],
                out / "pruned.jsonl", out / "summary.json", needs=needs, method=self.label,
                still=still)))
        return runs

    def _traces(self, part: str, questions: str, where: str, adapter: tuple[Path, str] | None,
                still: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """The student's traces; methods that sample alike share them."""
        if self.plan.experiment.traces and adapter is None:
            return questions, ()
        options = {**self.plan.experiment.generate, **self.method.generate}
        own = "".join(f"-{slug(f'{k}{v}')}" for k, v in self.method.generate.items())
        if adapter is not None:
            own, options = f"-{part}", {**options, "adapter": str(adapter[0])}
        out = self.home / "traces" / f"{where}{own}.jsonl"
        stage = self.plan.add(
            "generate", f"{self.student_name}/generate/{out.stem}",
            f"student traces: {questions}{own and f' ({own[1:]})'}",
            ["drp", "generate", questions, "-o", str(out), "--model", self.model,
             *flags(options)], out, needs=(adapter[1],) if adapter else (), method=self.label,
            still=still)
        return str(out), (stage,)

    def _built(self, name: str, runs: list[tuple[Path, str]], more: Options,
               still: tuple[str, ...]) -> str:
        data = self.work / "data"
        experiment = self.plan.experiment
        options = {"tokenizer": self.model, "test_set": list(experiment.tasks), **experiment.build,
                   **self.method.build, **more}
        return self.plan.add(
            "build", f"{self.name}/build/{name}", f"{self.label}: SFT set: drp build",
            ["drp", "build", *(str(path) for path, _ in runs), "-o", str(data), "--name", name,
             "--replace", *flags(options)], data / f"{name}.json", needs=tuple(s for _, s in runs),
            method=self.label, still=still)

    def _train(self, part: str, seed: int, turn: int, adapter: tuple[Path, str] | None,
               still: tuple[str, ...]) -> tuple[Path, str]:
        """Each training of the method in turn; the last adapter and its stage."""
        init = self.plan.add("build", f"{self.student_name}/init", "training workspace: drp init",
                             ["drp", "init", str(self.work)], self.work / self.student.config)
        experiment, method = self.plan.experiment, self.method
        own = f"-s{seed}" if turn > 1 else ""
        previous: tuple[Path, str] | None = None
        for number, step in enumerate(method.chain or (Round(),), start=1):
            link = f"-c{number}" if method.chain else ""
            name = re.sub("[-.]", "_", f"drp_{part}{link}") + own.replace("-", "_")
            runs = self._runs(f"{part}{own}{link}", adapter if turn > 1 else None, still,
                              step.prune)
            built = self._built(name, runs, step.build, still)
            out = self.work / "saves" / f"{part}{link}-s{seed}"
            given: dict[str, Any] = {
                "dataset": name, "output_dir": out, "seed": seed, **experiment.train,
                **method.train, **step.train,
                **({"adapter_name_or_path": previous[0]} if previous else {})}
            config = method.config or self.student.config
            needs = (init, built, *((previous[1],) if previous else ()))
            checked = self.plan.add(
                "build", f"{self.name}/check/{out.name}", f"{self.label}: preflight: drp check",
                ["drp", "check", config, *settings(given)], needs=needs, cwd=self.work,
                method=self.label, still=still, clears=out)
            previous = out, self.plan.add(
                "train", f"{self.name}/train/{out.name}",
                f"{self.label}: seed {seed}: llamafactory-cli train",
                ["llamafactory-cli", "train", config, *settings(given)],
                out / "adapter_model.safetensors", needs=(*needs, checked), cwd=self.work,
                method=self.label, still=still)
        assert previous is not None
        return previous

    def _trained(self, part: str, seed: int,
                 adapter: tuple[Path, str]) -> tuple[str, Path | None, tuple[str, ...]]:
        """What is measured: model, adapter, and the stages that made them."""
        if not self.method.export:
            return self.model, adapter[0], (adapter[1],)
        merged = adapter[0].with_name(f"{adapter[0].name}-merged")
        stage = self.plan.add(
            "export", f"{self.name}/export/{part}-s{seed}",
            f"{self.label}: merged model: llamafactory-cli export",
            ["llamafactory-cli", "export", f"export/{self.student.config}",
             *settings({"adapter_name_or_path": adapter[0], "export_dir": merged})],
            merged / "model.safetensors", needs=(adapter[1],), cwd=self.work, method=self.label)
        return str(merged), None, (stage,)

    def _recipe(self, seed: int) -> tuple[str, Path | None, tuple[str, ...]]:
        """What a recipe makes: see `_trained`."""
        out = self.home / "recipes" / f"{self.slug}-s{seed}"
        words = self._words(self.method.recipe, out=str(out), seed=str(seed))
        adapter = out / self.method.adapter if self.method.adapter else None
        stage = self.plan.add("recipe", f"{self.name}/recipe/s{seed}",
                              f"{self.label}: seed {seed}: {Path(words[1]).name}", words,
                              adapter / "adapter_config.json" if adapter
                              else out / "config.json", method=self.label)
        return (self.model, adapter, (stage,)) if adapter else (str(out), None, (stage,))

    def _words(self, command: tuple[str, ...], **places: str) -> list[str]:
        """A command of the file with its places filled in."""
        known = {**places, "student": self.model, "recipes": str(resource("recipes"))}
        try:
            return [word.format(**known) for word in command]
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(f"method {self.label!r}: {' '.join(command)}: unknown place {error}",
                            fix=f"There are: {', '.join('{' + k + '}' for k in known)}") from None

    def _evaluate(self, name: str, model: str, adapter: Path | None, needs: tuple[str, ...],
                  still: tuple[str, ...] = ()) -> tuple[str, Path, str]:
        experiment = self.plan.experiment
        options = {"model": "drp_vllm", **experiment.evaluate, **self.method.evaluate}
        arguments = {"pretrained": model, **(experiment.evaluate.get("model_args") or {}),
                     **(self.method.evaluate.get("model_args") or {})}
        if adapter is not None:
            arguments["peft" if options["model"] == "drp_hf" else "lora"] = adapter
        options.pop("model_args", None)
        if self.draw is not None:
            options["seed"], name = self.draw, f"{name}-d{self.draw}"
        suffix = f"_{self.method.tasks}" if self.method.tasks else ""
        out = self.home / "eval" / name
        stage = self.plan.add(
            "evaluate", f"{self.student_name}/evaluate/{name}", f"{self.label}: lmms-eval",
            ["lmms-eval", *(f for k, v in options.items() for f in (f"--{k}", str(v))),
             "--model_args", ",".join(f"{k}={v}" for k, v in arguments.items()),
             "--tasks", ",".join(task + suffix for task in experiment.tasks),
             "--output_path", str(out), "--log_samples"],
            out / "*" / "*_results.json", needs=needs, method=self.label, still=still)
        return self.label, out, stage
