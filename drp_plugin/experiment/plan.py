"""From an experiment's file to its stages: the same commands that a person would type."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from drp_plugin.errors import UserError
from drp_plugin.experiment import file
from drp_plugin.experiment.file import Experiment, Kind, Launcher, MethodSection, Round, Student
from drp_plugin.experiment.stages import Stage
from drp_plugin.resources import resource
from drp_plugin.student import model_path


def flags(options: file.Options) -> list[str]:
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


def settings(options: file.Options) -> list[str]:
    """Settings as LLaMA-Factory takes them behind its YAML, which it reads as YAML again."""
    def word(value: Any) -> str:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return text if isinstance(value, Path) or yaml.safe_load(text) == value \
            else json.dumps(value)

    return [f"{key}={word(value)}" for key, value in options.items()]


def _lmms_options(options: file.Options) -> list[str]:
    """Options of lmms-eval, which has flags without a value and takes a mapping as `K=V,K=V`."""
    found: list[str] = []
    for name, value in options.items():
        if isinstance(value, dict):
            value = ",".join(f"{k}={v}" for k, v in value.items())
        if value is not None and value is not False:
            found += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return found


def _tool(name: str, env: str | None) -> tuple[str, ...]:
    """A tool of this environment, even if it is not on PATH, or of the launcher's."""
    binaries = Path(env) / "bin" if env else Path(sys.executable).parent
    if env is None and name in ("drp", "lmms-eval"):
        # -P: what lies in the stage's folder is no part of the program
        return sys.executable, "-P", "-m", {"drp": "drp_plugin", "lmms-eval": "lmms_eval"}[name]
    return (str(binaries / name),) if env or (binaries / name).exists() else (name,)


def make_plan(experiment: Experiment, folder: Path) -> list[Stage]:
    """Every stage, each after the ones that it needs."""
    stages: dict[str, Stage] = {}
    for name, student in experiment.students.items():
        all_ = _Way(experiment, stages, folder / file.slug(name), student)
        all_.report([found for label, method in experiment.methods.items()
                     for draw in experiment.draws or (None,)
                     for found in replace(all_, label=label, method=method, draw=draw).measured()])
    return list(stages.values())


class _Product(NamedTuple):
    """A file or folder, and the stages that make it."""

    path: Path | str
    stages: tuple[str, ...] = ()


@dataclass
class _Way:
    """One method for one student; without a label, what all share. Collects each stage once."""

    experiment: Experiment
    stages: dict[str, Stage]
    home: Path
    student: Student
    label: str = ""
    method: MethodSection = field(default_factory=MethodSection)
    draw: int | None = None  # The seed of its measurements, where the file has any
    still: tuple[str, ...] = ()  # What was measured in earlier rounds

    def __post_init__(self) -> None:
        self.work = self.home / "training"
        self.slug = file.slug(self.label)
        self.model = str(model_path()) if self.student.model == "tiny" else self.student.model

    def add(self, kind: Kind, name: str, title: str, command: list[str], made: Path, *inside: str,
            needs: Iterable[_Product] = (), **more: Any) -> _Product:
        """Add a stage, with `more` of its fields, whose command begins with a tool's name. `inside`
        names the files by which it is known that the folder it has `made` is complete."""
        launcher = self.experiment.launcher.get(kind, Launcher())
        tool, *rest = command
        stage = Stage(**{
            "name": f"{self.home.name}/{name}", "title": title, "kind": kind,
            "outputs": tuple(made / part for part in inside) or (made,),
            "command": (*launcher.prefix.split(), *_tool(tool, launcher.env), *rest),
            "asked": tuple(command),
            "needs": tuple(stage for product in needs for stage in product.stages),
            "method": self.label, "still": self.still, **more})
        return _Product(made, (self.stages.setdefault(stage.name, stage).name,))

    def report(self, measured: list[tuple[str, _Product]]) -> None:
        out = self.home / "report"
        runs = [f"{label}={made.path}" for label, made in measured]
        self.add("report", "report", "tables and figures: drp report", ["drp", "report", *runs,
                 "-o", str(out), *flags(self.experiment.report)], out, "results.json",
                 needs=[made for _, made in measured])

    def measured(self) -> Iterator[tuple[str, _Product]]:
        """Label and folder of everything of this method that lmms-eval measures."""
        method = self.method
        if method.checkpoint or not (method.trains or method.recipe):
            yield self.label, self._evaluate(self.slug, _Product(method.checkpoint or self.model))
            return
        for seed in self.experiment.seeds:
            if method.recipe:
                yield self.label, self._evaluate(f"{self.slug}-s{seed}", *self._recipe(seed))
                continue
            adapter, still = None, tuple[str, ...]()
            for turn, change in enumerate(method.rounds, start=1):
                # a round like the one before may be unnecessary; a different one never is
                way = replace(self, method=method.changed(change),
                              still=() if change != Round() else still)
                end = (f"-r{turn}", f" r{turn}") if len(method.rounds) > 1 else ("", "")
                part = self.slug + end[0]
                adapter = way._train(part, seed, turn, adapter)
                found = way._evaluate(f"{part}-s{seed}", *way._trained(part, seed, adapter))
                yield self.label + end[1], found
                still = (*still, str(found.path))

    def _rows(self, part: str, adapter: _Product | None, more: file.Options) -> Iterator[_Product]:
        """What the set is built from: run directories, or files that the method's command makes."""
        method = self.method
        for label in method.mix:
            yield from replace(self, label=label, method=self.experiment.methods[label])._rows(
                file.slug(label), None, {})
        for questions in () if method.mix else self.experiment.questions or self.experiment.traces:
            where = file.slug(Path(questions).stem if "/" in questions else questions)
            out = self.home / "runs" / part / where
            if method.rows_by:
                made = out.with_suffix(".jsonl")
                yield self.add("prune", f"{self.slug}/rows/{part}/{where}",
                    f"{self.label}: {questions}: its own rows",
                    self._words(method.rows_by, out=str(made), questions=questions), made)
                continue
            command, source = "distill", _Product(questions)
            if method.distill is None:
                command, source = "prune", self._traces(part, questions, where, adapter)
            options = flags({**((method.distill or method.prune) or {}), **more})
            yield self.add(
                "prune", f"{self.slug}/{command}/{part}/{where}",
                f"{self.label}: {questions}: drp {command}",
                [word.replace("{student}", self.model) for word in (
                    "drp", command, str(source.path), "-o", str(out), *options)],
                out, "pruned.jsonl", "summary.json", needs=[source])

    def _traces(self, part: str, questions: str, where: str, adapter: _Product | None) -> _Product:
        """The student's traces; methods with the same sampling share them."""
        options = {**self.experiment.generate, **self.method.generate}
        own = "".join(f"-{file.slug(f'{k}{v}')}" for k, v in self.method.generate.items())
        if adapter is not None:
            own, options = f"-{part}", {**options, "adapter": str(adapter.path)}
        elif self.experiment.traces:
            return _Product(questions)
        out = self.home / "traces" / f"{where}{own}.jsonl"
        title = f"student traces: {questions}{own and f' ({own[1:]})'}"
        command = ["drp", "generate", questions, "-o", str(out), "--model", self.model]
        return self.add("generate", f"generate/{out.stem}", title, command + flags(options), out,
                        needs=[adapter] if adapter else ())

    def _train(self, part: str, seed: int, turn: int, adapter: _Product | None) -> _Product:
        """Each training of the method in turn; the last adapter."""
        init = self.add("build", "init", "training workspace: drp init",
                        ["drp", "init", str(self.work)], self.work / self.student.config,
                        method="", still=())
        own = f"-s{seed}" if turn > 1 else ""
        config = self.method.config or self.student.config
        chain: list[_Product] = []
        for number, step in enumerate(self.method.chain or (Round(),), start=1):
            link = f"-c{number}" if self.method.chain else ""
            name = re.sub("[-.]", "_", f"drp_{part}{link}") + own.replace("-", "_")
            rows = list(self._rows(f"{part}{own}{link}", adapter, step.prune))
            out = self.work / "saves" / f"{part}{link}-s{seed}"
            given = {"dataset": name, **self.experiment.train, **self.method.train, **step.train}
            own_way = {"output_dir": out, "seed": seed,
                       **({"adapter_name_or_path": chain[-1].path} if chain else {})}
            data, built = self.work / "data", flags({
                "tokenizer": self.model, "test_set": list(self.experiment.tasks),
                **self.experiment.build, **self.method.build, **step.build})
            built_set = self.add(
                "build", f"{self.slug}/build/{name}", f"{self.label}: SFT set: drp build",
                ["drp", "build", *(str(made.path) for made in rows), "-o", str(data),
                 "--name", name, "--replace", *built], data / f"{name}.json", needs=rows)
            checked = self.add(  # once for all seeds
                "build", f"{self.slug}/check/{name}", f"{self.label}: preflight: drp check",
                ["drp", "check", config, *settings(given)], out, needs=[init, built_set],
                cwd=self.work, outputs=())
            chain.append(self.add("train", f"{self.slug}/train/{out.name}",
                f"{self.label}: seed {seed}: llamafactory-cli train", ["llamafactory-cli", "train",
                config, *settings({**own_way, **given})], out, "adapter_model.safetensors",
                needs=[init, built_set, *chain[-1:], checked], cwd=self.work, clears=out))
        return chain[-1]

    def _trained(self, part: str, seed: int, adapter: _Product) -> tuple[_Product, Path | None]:
        """What is measured: a model with the stages that made it, and an adapter."""
        path = Path(adapter.path)
        if not self.method.export:
            return _Product(self.model, adapter.stages), path
        merged = path.with_name(f"{path.name}-merged")
        return self.add(
            "export", f"{self.slug}/export/{part}-s{seed}",
            f"{self.label}: merged model: llamafactory-cli export",
            ["llamafactory-cli", "export", f"export/{self.student.config}",
             *settings({"adapter_name_or_path": path, "export_dir": merged})],
            merged, "model.safetensors", needs=[adapter], cwd=self.work), None

    def _recipe(self, seed: int) -> tuple[_Product, Path | None]:
        """What a recipe makes: see `_trained`."""
        out = self.home / "recipes" / f"{self.slug}-s{seed}"
        words = self._words(self.method.recipe, out=str(out), seed=str(seed))
        adapter = self.method.adapter and f"{self.method.adapter}/adapter_"
        made = self.add("recipe", f"{self.slug}/recipe/s{seed}",
                        f"{self.label}: seed {seed}: {Path(words[:2][-1]).name}", words, out,
                        f"{adapter}config.json")
        return (made._replace(path=self.model), out / self.method.adapter) if adapter else (
            made, None)

    def _words(self, command: tuple[str, ...], **places: str) -> list[str]:
        known = {**places, "student": self.model, "recipes": str(resource("recipes"))}
        try:
            return [word.format(**known) for word in command]
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(f"method {self.label!r}: {' '.join(command)}: unknown place {error}",
                            fix=f"There are: {', '.join('{' + k + '}' for k in known)}") from None

    def _evaluate(self, name: str, model: _Product, adapter: Path | None = None) -> _Product:
        options: file.Options = {"model": "drp_vllm"}
        arguments: file.Options = {"pretrained": model.path}
        for given in (self.experiment.evaluate, self.method.evaluate):
            options |= given
            arguments |= options.pop("model_args", None) or {}
        if adapter is not None:
            arguments["peft" if options["model"] == "drp_hf" else "lora"] = adapter
        if self.draw is not None:
            options["seed"], name = self.draw, f"{name}-d{self.draw}"
        suffix = self.method.tasks and f"_{self.method.tasks}"
        out = self.home / "eval" / name
        return self.add(
            "evaluate", f"evaluate/{name}", f"{self.label}: lmms-eval",
            ["lmms-eval", *_lmms_options({**options, "model_args": arguments}),
             "--tasks", ",".join(task + suffix for task in self.experiment.tasks),
             "--output_path", str(out), "--log_samples"],
            out, "*/*_results.json", needs=[model])
