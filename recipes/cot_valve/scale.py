"""CoT-Valve's valve: an adapter at strength α, for a merge at θ + αΔθ.

    python recipes/cot_valve/scale.py saves/cot_valve_qwen7b_s0 0.6 -o saves/cot_valve_0.6

α under 1 keeps more of the model's own length, over 1 shortens further (Ma et al., 2025). LoRA's
own factor alpha/r is what is multiplied, so the weights are copied as they are.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path

from drp_plugin.errors import UserError, refusal


def scale_adapter(adapter: Path, alpha: float, output: Path) -> Path:
    """Write a copy of `adapter` whose effect is multiplied by `alpha`; returns `output`.

    Raises UserError when `adapter` holds no usable LoRA adapter, when `alpha` is not a number over
    0, and when `output` is the adapter's own folder.
    """
    if not 0 < alpha < math.inf:
        raise UserError(f"alpha {alpha} is not a number over 0", fix="The paper's are 0.4 to 1.2")
    if output.resolve() == adapter.resolve():
        raise UserError("is the adapter that is scaled", file=output, fix="Give another -o")
    config_file = adapter / "adapter_config.json"
    if not config_file.is_file():
        raise UserError("holds no adapter", file=adapter, fix="Train the adapter first")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        kind, strength = config["peft_type"], float(config.get("lora_alpha") or 0)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"is no adapter's config ({type(error).__name__})", file=config_file,
                        fix="Train the adapter again") from None
    if kind != "LORA" or not strength:
        raise UserError(f"is a {kind} adapter without lora_alpha, not LoRA", file=adapter)
    output.mkdir(parents=True, exist_ok=True)
    for file in adapter.iterdir():
        if file.is_file() and file.suffix in (".safetensors", ".json", ".jinja", ".bin"):
            shutil.copy(file, output / file.name)
    config["lora_alpha"] = strength * alpha
    config["alpha_pattern"] = {k: v * alpha for k, v in (config.get("alpha_pattern") or {}).items()}
    (output / "adapter_config.json").write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return output


def main() -> None:
    parser = argparse.ArgumentParser(description="Scale a LoRA adapter (CoT-Valve's alpha).")
    parser.add_argument("adapter", type=Path)
    parser.add_argument("alpha", type=float)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        print(scale_adapter(arguments.adapter, arguments.alpha, arguments.output))
    except (UserError, OSError) as error:
        parser.exit(2, f"drp: {refusal(error)}\n")


if __name__ == "__main__":
    main()
