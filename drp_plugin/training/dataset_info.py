"""A set's data card, its entry in `dataset_info.json`, and its upload to the hub."""

import contextlib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import drp_plugin
from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm import ledger_disk
from drp_plugin.resources import table
from drp_plugin.seen import Numbers
from drp_plugin.training.mixing import Fit
from drp_plugin.training.preflight.files import read_object

if TYPE_CHECKING:
    from drp_plugin.training.sft_set import SetSettings

INFO = "dataset_info.json"
SFT_ENTRY, PAIR_ENTRY = table("llamafactory.yaml")["entries"]
_OURS = ("file_name", *PAIR_ENTRY)
_CARD = table("llamafactory.yaml")["card"]


def spread(values: Counter[int]) -> dict[str, float] | None:
    if not values:
        return None
    n = values.total()

    def ordered(start: int, stop: int) -> list[int]:
        every = (value for value in sorted(values) for _ in range(values[value]))
        return list(islice(every, start, stop))

    p95 = min(n - 1, int(0.95 * n))
    return {"mean": round(mean(values.elements()), 1),
            "median": median(ordered((n - 1) // 2, n // 2 + 1)),
            "p95": ordered(p95, p95 + 1)[0], "max": max(values)}


def describe(settings: "SetSettings", rows: Iterable[tuple[Fit, Any]], dropped: dict[str, int],
             rows_in: int, tokenizer: str | None) -> dict[str, Any]:
    """The card as one JSON object, of the set's rows with the hash of the question, the characters
    and the facts of each. It holds no date, so that equal builds are equal files."""
    counts = {title: Counter[str]() for title in ("sources", *_CARD["counted"])}
    lengths: dict[str, Counter[int]] = {title: Counter() for title in ("tokens_per_row",
        "response_tokens_before", "response_tokens_after", "characters_per_response")}
    questions, files, edited, overlap = Numbers(), set(), {}, []
    for row, (question, characters, facts) in rows:
        questions.put(bytes.fromhex(question), 0)
        files.add(row.source)
        counts["sources"][row.group] += 1
        for title, key in _CARD["counted"].items():
            counts[title][str(facts.get(key, "not recorded"))] += 1
        before, after = facts.get("tokens_before"), facts.get("tokens_after")
        for of_title, length in zip(lengths.values(), (row.tokens, before, after, characters),
                                    strict=True):
            if length is not None:
                of_title[length] += 1
        if "overlap" in facts:
            overlap.append(dict(zip(("id", "test", "similarity"), facts["overlap"], strict=True)))
        if "edited" in facts:
            edited[row.id] = f"{before} → {after} tokens, {facts['edited']}"
    return {"name": settings.name, "made_by": f"drp-plugin {drp_plugin.__version__}",
        "format": "sharegpt preference pairs" if settings.pairs else "sharegpt",
        "template": settings.template, "rows_in": rows_in, "rows": counts["sources"].total(),
        "questions": questions.least()[0], "dropped": dropped,
        **{title: dict(counter.most_common()) for title, counter in counts.items()},
        "files": sorted(files), "edited": edited,
        "licences": sorted({text for key, text in _CARD["licences"].items() for group in
                            counts["sources"] if group.lower().startswith(key)}),
        "seed": settings.seed, "size": settings.size,
        "ratio": dict(settings.ratio) if settings.ratio else None,
        "test_sets": list(settings.test_sets), "tokenizer": tokenizer,
        "overlap": sorted(overlap, key=lambda o: -o["similarity"]),
        "cutoff_len": settings.cutoff_len, "over_cutoff": sum(
            times for n, times in lengths["tokens_per_row"].items() if n > settings.cutoff_len)
        if lengths["tokens_per_row"] else None,
        **{title: spread(found) for title, found in lengths.items()}}


def check_name(name: str) -> str:
    """The name; raises UserError for one that LLaMA-Factory cannot find (it splits at commas), or
    that clashes with another set's files: `x.card.json` is the card of `x`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name == "dataset_info" \
            or name.endswith((".card", ".provenance", ".dropped")):
        raise UserError(f"--name {name!r} cannot be a data set's name",
                        fix="Use letters, digits, '.', '_' and '-', and no ending such as .card")
    return name


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One build at a time; a folder made for one that fails is taken away again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f".{INFO}.lock"
    with ledger_disk.locked(file, f"it builds a set in {folder}"):
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                if missing and list(folder.iterdir()) == [file]:
                    file.unlink()
                    for path in missing:
                        path.rmdir()
            raise


def read_info(folder: Path) -> dict[str, Any]:
    """What is registered in `folder`. Raises UserError for a file that is not a JSON object."""
    try:
        return read_object(folder / INFO, encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(str(error), file=folder / INFO,
                        fix="Correct it by hand; it was not changed") from None


def check_free(folder: Path, name: str) -> None:
    """Raises UserError when `name` is that of files that `drp build` did not write."""
    entry, file = read_info(folder).get(name), folder / f"{name}.json"
    card = folder / f"{name}.card.json"
    ours = card.is_file() and b'"made_by": "drp-plugin' in card.read_bytes()
    for end in ("json", "md", "card.json", "provenance.jsonl", "dropped.jsonl"):
        if entry is None and not ours and (there := folder / f"{name}.{end}").exists():
            raise UserError("exists and was not written by `drp build`", file=there,
                            fix="Choose another --name")
    if entry is not None and not (isinstance(entry, dict) and entry.get("file_name") == file.name):
        raise UserError(f"{name!r} is registered for something else", file=folder / INFO,
                        fix="Choose another --name")


def register(folder: Path, name: str, entry: dict[str, Any]) -> None:
    """Add or replace one entry under the lock; all else stays, and a user's keys in it."""
    info = read_info(folder)
    old = info.get(name)
    kept = {k: v for k, v in old.items() if k not in _OURS} if isinstance(old, dict) else {}
    info[name] = {"file_name": f"{name}.json", **entry, **kept}
    jsonl.write_json(folder / INFO, info)


def push(folder: Path, name: str, repository: str, *, private: bool = True) -> str:
    """Upload set, provenance and card (as README.md), by the token of HF_TOKEN or `hf auth login`;
    returns the repository's address. UserError when the hub refuses."""
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as staging:
        shutil.copy(folder / f"{name}.json", Path(staging) / f"{name}.json")
        for file in (f"{name}.provenance.jsonl", f"{name}.card.json"):
            # paths of the builder's machine are cut to the run's name and file
            text = re.sub(r'"[^"]*?([^"/]+/[^"/]+\.jsonl)"', r'"\1"',
                          (folder / file).read_text("utf-8"))
            (Path(staging) / file).write_text(text, encoding="utf-8")
        shutil.copy(folder / f"{name}.md", Path(staging) / "README.md")
        try:
            api = HfApi()
            url = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
            api.upload_folder(repo_id=url.repo_id, repo_type="dataset", folder_path=staging,
                              commit_message=f"{name}, built by drp-plugin")
        except Exception as error:  # HTTP, authentication, name: the user can mend all of them
            reason = str(error).strip().splitlines()
            raise UserError(f"the hub refused {repository!r}: {reason[0] if reason else error!r}",
                            fix="Set HF_TOKEN to a token that may write there") from None
    return f"https://huggingface.co/datasets/{url.repo_id}"
