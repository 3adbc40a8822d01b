"""Exports that would go wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models as tiny
import yaml
from preflight_help import codes

from drp_plugin.errors import UserError
from drp_plugin.resources import resource

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

from drp_plugin.training.preflight import weights  # noqa: E402
from drp_plugin.training.preflight.check_config import check  # noqa: E402


@pytest.fixture
def export(tmp_path, byte_model):
    """An export YAML with its adapter; keywords change the settings."""
    def make(**changes: object) -> Path:
        adapter = tiny.adapter_without_layers(
            tmp_path / "adapter", base_model_name_or_path=str(byte_model))
        path = tmp_path / "export.yaml"
        path.write_text(yaml.safe_dump({
            "model_name_or_path": str(byte_model), "adapter_name_or_path": str(adapter),
            "template": "deepseekr1", "export_dir": str(tmp_path / "merged")} | changes))
        return path
    return make


def test_a_good_export_passes_in_silence(export):
    assert check(export()).problems == []


@pytest.mark.parametrize("path", sorted(resource("llamafactory_configs").glob("export/*.yaml")),
                         ids=lambda path: path.stem)
def test_shipped_exports_pass_in_silence(path, byte_model, tmp_path, monkeypatch):
    tiny.adapter_without_layers(
        tmp_path / yaml.safe_load(path.read_text())["adapter_name_or_path"])
    monkeypatch.chdir(tmp_path)
    assert codes(path, model=str(byte_model)) == []


@pytest.mark.parametrize(("changes", "code"), [
    ({"template": "qwen"}, "eos_changed"),
    ({"template": "nope"}, "bad_template"),
    ({"template": "alpaca"}, "chat_template_changed"),
    ({"quantization_bit": 4}, "quantized_merge"),
    ({"adapter_name_or_path": "saves/nowhere"}, "missing_file"),
])
def test_exports_that_go_wrong(export, changes, code):
    report = check(export(**changes))
    assert code in [f.code for f in report.problems]
    assert report.exit_code() == 1


def test_an_export_of_another_models_tokenizer(export, chatml_model):
    assert "wrong_tokenizer" in codes(export(model_name_or_path=str(chatml_model)))


def test_an_export_over_its_own_source(export, byte_model, tmp_path):
    for folder in (byte_model, tmp_path / "adapter", tmp_path / "x" / ".." / "adapter"):
        assert codes(export(export_dir=str(folder))) == ["overwrites_source"]


def test_an_export_of_an_adapter_of_the_hub(export):
    assert codes(export(adapter_name_or_path="me/adapter")) == []


def test_an_export_whose_model_is_on_the_hub(export, monkeypatch):
    def offline(parsed: object) -> None:
        raise UserError("the tokenizer cannot be loaded")

    monkeypatch.setattr(weights, "load_base", offline)
    report = check(export(model_name_or_path="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"))
    assert "no_tokenizer" in [f.code for f in report.findings]
    assert [f.code for f in report.problems] == ["other_base"]
    assert "bad_template" in codes(export(
        model_name_or_path="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", template="nope"))
    with pytest.raises(UserError, match="cannot be loaded"):
        check(export(model_name_or_path=str(Path("/nowhere/model"))))


@pytest.mark.parametrize(("changes", "says"), [
    ({"export_size": "big"}, "export_size: 'big'"),
    ({"export_dirr": "x"}, "Did you mean 'export_dir'"),
    ({"infer_dtype": "bf16"}, "bfloat16"),
])
def test_what_the_parser_refuses_of_an_export(export, changes, says):
    with pytest.raises(UserError, match=says):
        check(export(**changes))
