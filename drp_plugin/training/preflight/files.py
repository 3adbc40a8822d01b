"""The files and folders that settings name: adapters, DeepSpeed plans, FSDP configurations."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from drp_plugin.hub import looks_local
from drp_plugin.training.preflight.findings import Preflight


def is_local(name: str) -> bool:
    """Whether a model or adapter is meant to be a folder, not `owner/name` on the hub.

    `saves/` is where the shipped YAMLs write, so a name under it is a folder that is missing.
    """
    return looks_local(name) or name.startswith("saves/") or Path(name).exists()


def read_object(source: str | Path) -> dict[str, Any]:
    """A JSON object, from a file or (`{...}`) from the text itself.

    Raises OSError when the file cannot be read, ValueError when it holds anything else.
    """
    inline = isinstance(source, str) and source.startswith("{")
    try:
        value = json.loads(str(source) if inline else Path(source).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def check_plans(raw: dict[str, Any], report: Preflight) -> dict[str, Any]:
    """The settings without DeepSpeed's and FSDP's files that cannot be read: each is a finding."""
    settings = dict(raw)
    for key in ("deepspeed", "fsdp_config"):
        value = raw.get(key)
        try:
            if isinstance(value, str) and value:
                read_object(value)
        except OSError:
            report.add("missing_file", name=key, value=value)
            del settings[key]
        except ValueError as error:
            report.add("bad_file", name=key, value=value, error=error)
            del settings[key]
    return settings


def zero_stage(plan: Any) -> int:
    """Which stage of ZeRO a DeepSpeed plan asks for; 0 without a plan that can be read."""
    with contextlib.suppress(OSError, ValueError):
        plan = read_object(plan) if isinstance(plan, str) else plan
        for key in ("zero_optimization", "stage"):
            plan = plan.get(key) if isinstance(plan, dict) else None
        return plan if isinstance(plan, int) else 0
    return 0


def adapters(model: Any, report: Preflight, mend: str) -> dict[str, dict[str, Any]]:
    """Each local adapter's configuration; what cannot be read is a finding.

    Adapters of the hub are left out: whether they exist is not known without asking it. `mend`
    says what to do about a missing one.
    """
    found = {}
    for name in model.adapter_name_or_path or []:
        if not name or not is_local(name):
            continue
        file = Path(name) / (model.adapter_folder or "") / "adapter_config.json"
        try:
            found[name] = read_object(file)
        except OSError:
            report.add("missing_file:adapter", value=name, mend=mend)
        except ValueError as error:
            report.add("bad_file:adapter", file=file, error=error)
    return found
