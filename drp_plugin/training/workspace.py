"""`drp init`: the YAML configs in a folder of the user's own, with their paths filled in.

LLaMA-Factory leaves `${oc.env:X}` as it stands, so real paths are written. The files stay what a
person edits: every comment is kept, and only the values that are paths change."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from drp_plugin.errors import UserError
from drp_plugin.hub import looks_local
from drp_plugin.jsonl import replacing
from drp_plugin.resources import resource
from drp_plugin.training.templates import family

FOLDER = "llamafactory_configs"
RECIPES = "recipes"
_LINE = re.compile(r"^(?P<key>[a-z_]+): (?P<value>[^#\n]*?)(?P<note>  #.*)?$", re.MULTILINE)
_PAPER = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
_TINY = "drp_plugin/student/model"


def _scalar(path: Path | str) -> str:
    """A path as a YAML scalar; quoted where YAML would read something else."""
    text = str(path)
    return text if re.fullmatch(r"[\w./@+=-]+", text) else json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True)
class Substitute:
    """A student of the user's own, in place of the paper's 7B model."""

    model: str  # a folder or a hub name
    template: str

    @property
    def name(self) -> str:
        return re.sub(r"[^a-z0-9]+", "_", Path(self.model).name.lower()).strip("_")

    def put(self, text: str) -> str:
        new = {f": {_PAPER}": f": {_scalar(self.model)}", _PAPER: self.model,
               Path(_PAPER).name: Path(self.model).name, "qwen7b": self.name}
        text = re.sub("|".join(map(re.escape, new)), lambda found: new[found[0]], text)  # at once
        return re.sub(r"(?m)^template: .*$", lambda _: f"template: {_scalar(self.template)}", text)


def own_student(model: str, template: str | None) -> Substitute:
    """Raises UserError for an impossible student or template."""
    if template is None:
        raise UserError("--student needs --template", fix="Name the student's own template of "
                        "LLaMA-Factory, such as qwen3 or llama3")
    folder = Path(model).expanduser()
    if looks_local(model) or folder.exists():
        for name in ("config.json", "tokenizer_config.json"):
            if not (folder / name).is_file():
                raise UserError(f"holds no {name}" if folder.is_dir() else "no such folder",
                                file=model, fix="--student takes a model's folder or its hub name")
        model = str(folder.resolve())
    student = Substitute(model, template)
    usable = re.fullmatch(r"(?a)/.+|[\w.-]+/[\w.-]+", model) and model.isprintable()
    if not (student.name and usable):
        raise UserError(f"--student {model!r} is no name to call files by",
                        fix="Give a model's folder, or its hub name OWNER/MODEL")
    family(template, model)
    return student


def filled(text: str, folder: Path, dataset_dir: Path, models: Path | None) -> str:
    """A shipped YAML with the paths of the workspace `folder`; all paths are absolute."""
    from drp_plugin.student import model_path

    def value(match: re.Match[str]) -> str:
        key, old, note = match["key"], match["value"].strip(), match["note"] or ""
        new = old
        if key == "dataset_dir":
            new, note = _scalar(dataset_dir), ""
        elif old == _TINY:
            new = _scalar(model_path())
        elif key in ("model_name_or_path", "model"):
            local = models / Path(old).name if models else None
            new = _scalar(local) if local and local.is_dir() else old
        elif old.startswith("saves/") or key == "deepspeed":
            new = _scalar(folder / old)
        return f"{key}: {new}{note}"

    # a workspace has no folder around its YAMLs, and its commands run inside it
    return _LINE.sub(value, text.replace(f"{FOLDER}/", "").replace(f"{RECIPES}/", ""))


def init(folder: Path, *, dataset_dir: Path | None = None, models: Path | None = None,
         student: Substitute | None = None, force: bool = False) -> tuple[list[Path], list[Path]]:
    """Write every shipped config below `folder`; returns the files written, and those kept.

    `dataset_dir` is where `drp build` puts its sets (default: `folder/data`). A student in `models`
    under its own name is used instead of the hub's. An existing file that differs is the user's and
    is kept, unless `force`. With `student` the files of the paper's 7B model are made its own, and
    those of the other models are left out. Raises UserError when `models` is no folder."""
    folder = folder.resolve()
    if models is not None and not models.is_dir():
        raise UserError("no such folder of models", file=models, fix="Check --models")
    data = (dataset_dir or folder / "data").resolve()
    written, kept = list[Path](), list[Path]()
    shipped = [(path, path.relative_to(root)) for root in (resource(FOLDER), resource(RECIPES))
               for path in sorted(root.rglob("*")) if path.suffix in (".yaml", ".json", ".py")
               and (root.name != RECIPES or path.parent != root)]  # these are experiments
    for source, place in shipped:
        target, text = folder / place, source.read_text(encoding="utf-8")
        if student is not None and source.suffix == ".yaml" and place.parts[0] != "accelerate":
            if _PAPER not in text:
                continue
            text = student.put(text)
            target = folder / str(place).replace("qwen7b", student.name)
        if source.suffix == ".py":
            text = text.replace(f"{RECIPES}/", "")
        elif source.suffix == ".yaml" and source.parent.name != "accelerate":
            text = filled(text, folder, data, models.resolve() if models else None)
        if target.exists() and not force:
            kept += [target] * (target.read_text("utf-8", "replace") != text)
            continue
        with replacing(target, private=False) as file:
            file.write(text)
        written.append(target)
    data.mkdir(parents=True, exist_ok=True)
    return written, kept
