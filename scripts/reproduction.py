"""docs/reproduction.md, written from an experiment's samples: no figure of it is typed by hand.

    python scripts/reproduction.py paper_tiny paper-run                  write the page
    python scripts/reproduction.py paper_tiny paper-run --trace DRP drp_tiny
                                      every sample behind that method's figures on that task

Both grade and count the samples of `paper-run/*/eval/` anew, as `drp report` does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from drp_plugin import statistics
from drp_plugin.errors import UserError, refusal
from drp_plugin.experiment.file import Experiment, read_experiment
from drp_plugin.experiment.plan import make_plan
from drp_plugin.jsonl import replacing
from drp_plugin.report import read_runs, score_run
from drp_plugin.report.regrading import Scored, choose_counter, choose_cutoff, readings
from drp_plugin.report.results import Comparison, ResultRow, compare, row
from drp_plugin.report.tables import paper_figures

ROOT = Path(__file__).resolve().parents[1]
ALPHA = 0.05
NAMES = {"before": "Base", "after": "DRP"}
"""What the demo calls its methods."""


class Claim(NamedTuple):
    """What the paper says of two methods, and ours that stand for them."""

    title: str
    before: str
    after: str
    table: str = ""  # Of the paper; empty for a control that it does not have
    theirs: tuple[str, str] = ("", "")
    student: str = "7b"


CLAIMS = (
    Claim("DRP against the student as it is (Table 1)", "Base", "DRP", "table1",
          ("Base", "+DRP")),
    Claim("TALE against the student as it is (Table 1)", "Base", "TALE", "table1",
          ("Base", "+TALE")),
    Claim("CoT-Valve+P against the student as it is (Table 1)", "Base", "CoT-Valve+P", "table1",
          ("Base", "+CoT-Valve")),
    Claim("ThinkPrune against the student as it is (Table 1, 1.5B)", "Base", "ThinkPrune",
          "table1", ("Base", "+ThinkPrune"), "1.5b"),
    Claim("DRP against the default split (Table 2)", "Default split", "DRP", "table2",
          ("Default", "DRP")),
    Claim("Gemini's stand-in against GPT-4o's (Table 3)", "DRP", "Gemini's stand-in", "table3",
          ("with GPT-4o teacher", "with Gemini 2.0 Flash teacher")),
    Claim("ChatGPT's stand-in against GPT-4o's (Table 3)", "DRP", "ChatGPT's stand-in", "table3",
          ("with GPT-4o teacher", "with ChatGPT teacher")),
    Claim("DRP against direct distillation (Table 4)", "Direct distillation", "DRP", "table4",
          ("Distill", "DRP")),
    *(Claim(f"DRP against {name.lower()} (not in the paper)", name, "DRP") for name in
      ("Earliest correct", "Shortest correct", "Random", "Perplexity")))


class Measured(NamedTuple):
    """All that is known of an experiment in a folder."""

    experiment: Experiment
    name: str  # As the command line names it
    scored: dict[tuple[str, str], Scored]  # By method and task
    rows: dict[tuple[str, str], ResultRow]
    cutoff: int | None
    missing: list[str]  # Evaluations that have not ended
    equal: list[list[str]]  # SFT sets of different methods that are the same file

    @property
    def tasks(self) -> list[str]:
        order = {task: i for i, task in enumerate(self.experiment.tasks)}
        return sorted({task for _, task in self.scored}, key=lambda t: (order.get(t, 99), t))


class Found(NamedTuple):
    """A claim on a task."""

    claim: Claim
    task: str
    ours: Comparison
    holm: float

    @property
    def paper(self) -> tuple[list[float], list[float]]:
        """The paper's changes in accuracy and, as shares, in tokens, for each of its sets."""
        figures = paper_figures(self.claim.table, [self.claim.student])
        methods = next(iter(figures.values()))
        pairs = [(methods[self.claim.theirs[0]][task], methods[self.claim.theirs[1]][task])
                 for task in methods[self.claim.theirs[0]]]
        return ([b["accuracy"] - a["accuracy"] for a, b in pairs],
                [b["tokens"] / a["tokens"] - 1 for a, b in pairs])


def evaluations(name: str, folder: Path) -> tuple[Experiment, list[str], list[str]]:
    """The experiment, `METHOD=FOLDER` of each evaluation that has ended, and of the others.
    Raises UserError where none has."""
    experiment = read_experiment(Path(name))
    stages = make_plan(experiment, folder.resolve())
    report = next(s for s in stages if s.kind == "report")
    given = [w for w in report.command if "=" in w and "/eval/" in w]
    ended = {s.command[s.command.index("--output_path") + 1] for s in stages
             if s.kind == "evaluate" and s.made_all()}
    there = [w for w in given if w.partition("=")[2] in ended]
    if not there:
        raise UserError("holds no evaluation that has ended", file=folder,
                        fix=f"Run: drp experiment {name} -o {folder}")
    return experiment, there, [w for w in given if w not in there]


def grade(experiment: Experiment, words: Sequence[str]) -> tuple[list[Scored], int | None, str]:
    """The samples of `METHOD=FOLDER`s, graded and counted, with the cutoff and the counter."""
    runs = read_runs(words)
    cutoff = choose_cutoff(runs, experiment.report.get("cutoff"))
    counter = choose_counter(runs, experiment.report.get("tokenizer"))
    return [score_run(run, counter, cutoff) for run in runs], cutoff, counter.name


def measure(name: str, folder: Path) -> Measured:
    """Grade what is there."""
    experiment, there, missing = evaluations(name, folder)
    graded, cutoff, counter = grade(experiment, there)
    graded = [s._replace(task=s.task._replace(name=NAMES.get(s.task.name, s.task.name)))
              for s in graded]
    scored = {(s.task.name, s.task.column): s for s in graded}
    return Measured(experiment, name, scored,
                    {key: row(s, cutoff, counter) for key, s in scored.items()}, cutoff,
                    [w.partition("=")[2] for w in missing], equal_sets(folder))


def equal_sets(folder: Path) -> list[list[str]]:
    """Names of SFT sets that are equal, byte for byte; the links of a chain apart."""
    named: dict[str, list[str]] = {}
    for file in sorted(folder.glob("*/training/data/drp_*.json")):
        if not re.search(r"\.card$|_c\d+$", file.stem):
            named.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), []).append(file.stem)
    return [names for names in named.values() if len(names) > 1]


def found(measured: Measured) -> list[Found]:
    """Every claim that both methods were measured for; Holm's correction over those of a task."""
    result: list[Found] = []
    for task in measured.tasks:
        pairs = [(claim, compare(measured.scored[claim.before, task],
                                 measured.scored[claim.after, task], measured.cutoff))
                 for claim in CLAIMS if {(claim.before, task), (claim.after, task)}
                 <= measured.scored.keys()]
        made = [(claim, c) for claim, c in pairs if c is not None]
        adjusted = statistics.holm([c.p for _, c in made])
        result += [Found(claim, task, c, p) for (claim, c), p in zip(made, adjusted, strict=True)]
    return result


def points(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


def percent(value: float) -> str:
    return f"{round(100 * value) + 0.0:+.0f} %".replace("-", "−")


def span(values: Sequence[float], say) -> str:  # type: ignore[no-untyped-def]
    return f"{say(min(values))} to {say(max(values))}"


def p_text(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def verdicts(each: Sequence[Found]) -> Iterator[tuple[str, str]]:
    """Where each claim belongs, `agrees`, `differs` or `unknown`, and what is to be said."""
    for one in each:
        c, task = one.ours, f"`{one.task}`"
        ours = f"{points(c.accuracy_change)} points, Holm p {p_text(one.holm)}"
        length = f"{percent(c.tokens_change)} tokens"
        clear = not c.tokens_change_low <= 0 <= c.tokens_change_high
        if not one.claim.table:
            if one.holm >= ALPHA:
                yield "unknown", (f"{one.claim.title}, {task}: accuracy {ours}; {length}.")
            else:
                yield "beyond", f"{one.claim.title}, {task}: accuracy {ours}; {length}."
            continue
        accuracy, tokens = one.paper
        theirs = f"the paper: {span(accuracy, points)}"
        if one.holm >= ALPHA:
            yield "unknown", f"{one.claim.title}, {task}: accuracy {ours} ({theirs})."
        else:
            same = min(accuracy) <= 0 <= max(accuracy) or \
                (c.accuracy_change > 0) == (sum(accuracy) > 0)
            inside = min(accuracy) <= c.accuracy_change <= max(accuracy)
            yield ("agrees" if same and inside else "differs"), (
                f"{one.claim.title}, {task}: accuracy {ours} ({theirs}).")
        said = f"{one.claim.title}, {task}: {length} (the paper: {span(tokens, percent)})."
        if not clear:
            yield "unknown", said
        elif (c.tokens_change > 0) == (sum(tokens) > 0):
            inside = min(tokens) <= c.tokens_change <= max(tokens)
            yield "agrees", said if inside else said[:-1] + ": the direction, not the size."
        else:
            yield "differs", said


def cell(measured: Measured, method: str, task: str) -> str:
    one = measured.rows[method, task]
    sd = "" if one.runs < 2 or one.spread is None else f" ± {100 * one.spread:.1f}"
    return f"{100 * one.accuracy:.1f}{sd} | {one.tokens:.0f}"


def main_table(measured: Measured) -> Iterator[str]:
    tasks = measured.tasks
    yield "| method | seeds | " + " | ".join(f"`{t}` % | tokens" for t in tasks) + " |"
    yield "|---" * (2 + 2 * len(tasks)) + "|"
    for label in measured.experiment.methods:
        method = NAMES.get(label, label)
        if all((method, task) in measured.rows for task in tasks):
            yield (f"| {method} | {measured.rows[method, tasks[0]].runs} | "
                   + " | ".join(cell(measured, method, task) for task in tasks) + " |")


def tests_table(each: Iterable[Found]) -> Iterator[str]:
    yield ("| after against before | task | points (95 %) | p | Holm p | tokens (95 %) |"
           "\n|---|---|---|---|---|---|")
    for one in each:
        c = one.ours
        yield (f"| {c.after} against {c.before} | `{one.task}` | {points(c.accuracy_change)} "
               f"({points(c.accuracy_change_low)} to {points(c.accuracy_change_high)}) | "
               f"{p_text(c.p)} | {p_text(one.holm)} | {percent(c.tokens_change)} "
               f"({percent(c.tokens_change_low)} to {percent(c.tokens_change_high)}) |")


def sizes(measured: Measured, notes: Sequence[str]) -> Iterator[str]:
    """What was run, from the file and the samples, and what else was given."""
    experiment = measured.experiment
    yield f"- Command: `drp experiment {measured.name}`. {experiment.about}"
    yield f"- Questions that the sets are made from: {', '.join(experiment.questions)}."
    for task in measured.tasks:
        n = max(r.n for (_, t), r in measured.rows.items() if t == task)
        yield f"- `{task}`: the same {n} problems for every method."
    yield (f"- Seeds of the trainings: {', '.join(map(str, experiment.seeds))}. "
           + ("Standard deviations are between seeds." if len(experiment.seeds) > 1 else
              "**One seed: how much a figure moves from seed to seed is not known here.**"))
    yield f"- Trainings: {settings(experiment)}, over `{students(experiment)}`."
    for name, method in experiment.methods.items():
        if method.stands_in:
            own = name if name.endswith("stand-in") else f"{name} is a stand-in"
            yield f"- {own}: {method.stands_in}."
    yield from (f"- {note}" for note in notes)
    if measured.missing:
        names = ", ".join(Path(m).name for m in measured.missing)
        yield f"- **Not measured: {names}.** They had not ended when this page was written."


def settings(experiment: Experiment) -> str:
    return ", ".join(f"`{k}: {v}`" for k, v in experiment.train.items()) or "as configured"


def students(experiment: Experiment) -> str:
    return ", ".join(s.config for s in experiment.students.values())


def limits(each: Sequence[Found], equal: list[list[str]]) -> Iterator[str]:
    """What these problems and this student cannot show."""
    for names in equal:
        yield (f"- {' and '.join(f'`{name}`' for name in names)} are the same set, byte for byte: "
               "their methods cannot differ here. (The rules decide by sentence, however a trace "
               "is cut.)")
    for task in dict.fromkeys(one.task for one in each):
        worst = max(one.ours.detectable for one in each if one.task == task)
        n = max(one.ours.n for one in each if one.task == task)
        yield (f"- `{task}`: {n} problems. A true difference of {100 * worst:.1f} points would be "
               "shown by 8 of 10 such experiments in every comparison; for a smaller one they are "
               "too few.")
    yield ("- Whether a language model prunes better than rules, whether a 7B student gains "
           "accuracy, and what Appendix D's judge would say: no LLM, no such student and no judge "
           "took part.")


def page(measured: Measured, folder: str, notes: Sequence[str] = ()) -> str:
    each = found(measured)
    said: dict[str, list[str]] = {"agrees": [], "differs": [], "beyond": [], "unknown": []}
    for where, text in verdicts(each):
        said[where].append(f"- {text}")
    command = f"python scripts/reproduction.py {shlex.quote(measured.name)} {shlex.quote(folder)}"
    cut = f", cut at {measured.cutoff:,} tokens" if measured.cutoff else ""

    absent = [c.title for c in CLAIMS if c not in {one.claim for one in each}]

    def listed(where: str) -> list[str]:
        return said[where] or ["- Nothing."]

    return "\n".join([
        "# What the embedded student reproduces of the paper", "",
        f"Written by `{command}`, which grades the samples of the experiment anew. "
        "No figure on this page was typed by hand, and none is about a real model: the student is "
        "a toy and the teachers are rules.", "",
        "## What was run", "", *sizes(measured, notes), "",
        "## Results", "",
        f"Pass@1 in per cent (± standard deviation between seeds) and mean tokens{cut}.", "",
        *main_table(measured), "",
        "This lists every sample behind a row of the table, with file, grade and tokens, and the "
        "means:", "",
        "<!-- not run: it reads a finished run; tests/report/test_reproduction.py runs the "
        "script -->",
        "```bash", f"{command} --trace DRP {measured.tasks[0]}", "```", "",
        "## Tests", "",
        "On the same problems: exact McNemar's test for one seed, the exact sign-flip test over "
        "problems for several. Holm's correction is over the comparisons of a task. Intervals of "
        f"tokens are Fieller's. `{command} --trace METHOD TASK`, for each method, lists the pairs.",
        "", *tests_table(each), "",
        "## What agrees with the paper", "",
        "A difference in accuracy is listed here if it is shown (Holm p under 0.05) and lies in "
        "the range of the paper's sets. A difference in tokens is listed if it has the paper's "
        "direction.", "",
        *listed("agrees"), "",
        "## What does not agree", "", *listed("differs"), "",
        "## Controls that the paper does not have", "",
        "Differences from DRP that are shown.", "", *listed("beyond"), "",
        "## What cannot be known at this scale", "",
        *limits(each, measured.equal), "",
        "These differences are not shown by these samples:", "", *listed("unknown"), "",
        *([f"This experiment did not measure {'; '.join(absent)}. `make paper` does.", ""]
          if absent else [])])


def trace(name: str, folder: Path, method: str, task: str) -> None:
    """Each sample as one line of JSON, and what they come to on standard error."""
    experiment, there, _ = evaluations(name, folder)
    marks: list[tuple[bool, int]] = []
    for word in there:
        if method not in (label := word.partition("=")[0], NAMES.get(label)):
            continue
        graded, cutoff, _ = grade(experiment, [word])
        for scored in (s for s in graded if s.task.column == task):
            for sample, (reading, *_) in zip(scored.task.samples, readings(scored, cutoff),
                                             strict=True):
                marks.append((bool(reading.correct), reading.tokens))
                print(json.dumps({
                    "file": str(scored.task.file), "problem": sample.doc, "gold": sample.gold,
                    "extracted": reading.extracted, "correct": marks[-1][0],
                    "tokens": reading.tokens}, ensure_ascii=False))
    if not marks:
        raise UserError(f"{method} on {task} was not measured", fix="Methods with samples: "
                        + ", ".join(dict.fromkeys(w.partition("=")[0] for w in there)))
    right, tokens = (sum(column) / len(marks) for column in zip(*marks, strict=True))
    print(f"{len(marks)} samples of {method} on {task}: accuracy {right:.4f}, tokens {tokens:.1f}",
          file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", help="the file, or a shipped one's name")
    parser.add_argument("folder", help="what `drp experiment -o` was given")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "reproduction.md")
    parser.add_argument("--note", action="append", default=[], help="where it ran, for the page")
    parser.add_argument("--trace", nargs=2, metavar=("METHOD", "TASK"))
    arguments = parser.parse_args()
    try:
        if arguments.trace:
            trace(arguments.experiment, Path(arguments.folder), *arguments.trace)
            return 0
        measured = measure(arguments.experiment, Path(arguments.folder))
        with replacing(arguments.output) as file:
            file.write(page(measured, arguments.folder, arguments.note))
        print(arguments.output)
    except (UserError, OSError) as error:
        print(f"drp: {refusal(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
