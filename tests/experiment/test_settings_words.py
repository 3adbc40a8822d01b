"""Settings of an experiment's file reach LLaMA-Factory as they stand there."""

from __future__ import annotations

from pathlib import Path

import pytest

from drp_plugin.experiment.plan import settings


@pytest.mark.parametrize("value", ["no", "off", "steps", "12", 3e-5, 1.0, True, None, ["a", "no"]])
def test_a_setting_is_read_back_as_it_stood(value: object) -> None:
    conf = pytest.importorskip("omegaconf").OmegaConf
    assert conf.to_container(conf.from_cli(settings({"key": value}))) == {"key": value}


def test_a_folder_is_written_as_it_is() -> None:
    assert settings({"output_dir": Path("/a b/c")}) == ["output_dir=/a b/c"]
