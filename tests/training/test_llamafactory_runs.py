"""The shipped YAMLs trained by the real LLaMA-Factory, on small random models."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tiny_models as tiny
import yaml
from checkout import script

from drp_plugin.resources import resource
from drp_plugin.training.sft_set import SetSettings, build
from drp_plugin.training.workspace import init

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework


def cli(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment; raises with its output when it fails."""
    done = subprocess.run(
        arguments, cwd=cwd, capture_output=True, text=True, timeout=600,
        env={**os.environ, "LLAMAFACTORY_VERBOSITY": "INFO", "OMP_NUM_THREADS": "1",
             "CUDA_VISIBLE_DEVICES": "",
             "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environment})
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done


def losses(output: Path) -> list[float]:
    """Training losses, in order."""
    lines = (output / "trainer_log.jsonl").read_text().splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]


@pytest.fixture
def workspace(tmp_path: Path, write_rows: Callable[..., Path]) -> Path:
    """`drp init` with every data set that the YAMLs name, made of a few rows."""
    folder = tmp_path / "work"
    init(folder)
    run = write_rows(tiny.rows(40))
    for path in folder.rglob("*.yaml"):
        settings = yaml.safe_load(path.read_text())
        name = settings.get("dataset")
        if name and not (folder / "data" / f"{name}.json").exists():
            build([run], folder / "data", SetSettings(name=name, pairs=settings["stage"] == "dpo"))
    return folder


def test_train_and_export_by_the_command_line(workspace, byte_model):
    """The tiny YAML as a user runs it, with a random model in the student's place."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    cli("llamafactory-cli", "train", "drp_tiny.yaml", f"model_name_or_path={byte_model}",
        "num_train_epochs=1", "logging_steps=1", cwd=workspace)
    adapter = workspace / "saves" / "drp_tiny"
    assert (adapter / "adapter_model.safetensors").is_file()
    assert losses(adapter)
    cli("llamafactory-cli", "export", "export/drp_tiny.yaml", f"model_name_or_path={byte_model}",
        f"adapter_name_or_path={adapter}", "export_dir=saves/elsewhere", cwd=workspace)
    merged = workspace / "saves" / "elsewhere"

    tokenizer = AutoTokenizer.from_pretrained(merged)
    ids = tokenizer("12 + 30 = 42", return_tensors="pt").input_ids
    base = AutoModelForCausalLM.from_pretrained(byte_model)
    before = base(ids).logits
    with torch.no_grad():
        one = PeftModel.from_pretrained(base, adapter)(ids).logits
        other = AutoModelForCausalLM.from_pretrained(merged)(ids).logits
    assert torch.allclose(one, other, atol=1e-4)
    assert not torch.allclose(before, other, atol=1e-4)
    # the chat template of the student is not touched
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(byte_model).chat_template


def run_in_process(path: Path, **changes: object) -> None:
    """`llamafactory-cli train PATH` without paying for another import."""
    from llamafactory.train.tuner import run_exp

    run_exp({**yaml.safe_load(path.read_text()), **changes})


def rewrite(path: Path, **changes: object) -> dict:
    """Change settings of a YAML in its place, for a command line that reads it; returns them."""
    settings = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump(settings))
    return settings


START = {"use_cpu": True, "max_steps": 2, "logging_steps": 1, "save_strategy": "no",
         "eval_strategy": "no", "val_size": 0.0, "preprocessing_num_workers": 1,
         "plot_loss": False, "gradient_accumulation_steps": 1, "per_device_train_batch_size": 2}


@pytest.fixture(scope="session")
def qwen_model(qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """R1-Distill-Qwen's architecture, vocabulary and tokenizer, with few and random weights."""
    folder = tmp_path_factory.mktemp("models") / "qwen-small"
    shutil.copytree(qwen, folder)
    return tiny.random_model(folder, vocab=152064, hidden=32, heads=4, kv_heads=2, bos=151643,
                             eos=151643, positions=131072)


@pytest.mark.parametrize("name", ["drp_qwen7b", "drp_qwen1_5b"])
def test_the_papers_yamls_reach_the_first_optimizer_steps(workspace, qwen_model, name):
    run_in_process(workspace / f"{name}.yaml", model_name_or_path=str(qwen_model), **START)
    output = workspace / "saves" / name
    assert len(losses(output)) == 2
    adapter = json.loads((output / "adapter_config.json").read_text())
    assert adapter["r"] == 8 and adapter["lora_alpha"] == 16
    assert set(adapter["target_modules"]) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


CONFIGS = resource("llamafactory_configs")
# Each has a test of its own below, which brings what the others do without.
ELSEWHERE = {"scale/fsdp", "scale/deepspeed_zero2", "scale/deepspeed_zero3", "scale/ray",
             "scale/qlora_24gb"}
STARTS = sorted(
    name for path in CONFIGS.rglob("*.yaml") if path.parent.name not in ("export", "accelerate")
    and (name := str(path.relative_to(CONFIGS).with_suffix(""))) not in ELSEWHERE
    # these have tests of their own below and above
    and "cot_valve" not in name and not name.startswith("drp_"))


@pytest.mark.parametrize("name", STARTS)
def test_each_yaml_starts(workspace, byte_model, name):
    path = workspace / f"{name}.yaml"
    run_in_process(path, model_name_or_path=str(byte_model), **START)
    assert len(losses(Path(yaml.safe_load(path.read_text())["output_dir"]))) == 2


def test_cot_valve_continues_one_adapter(workspace, byte_model):
    """Each round starts from the adapter of the one before; α scales the last one's merge."""
    import torch
    from safetensors.torch import load_file

    scale_adapter = script("recipes/cot_valve/scale.py").scale_adapter
    folder = workspace / "baselines"
    for solution in (4, 3, 2, 1, 0):
        run_in_process(folder / f"cot_valve_qwen7b_s{solution}.yaml",
                       model_name_or_path=str(byte_model), **START,
                       **({"learning_rate": 0.0} if solution == 3 else {}))
    saves = workspace / "saves"
    first = load_file(saves / "cot_valve_qwen7b_s4" / "adapter_model.safetensors")
    second = load_file(saves / "cot_valve_qwen7b_s3" / "adapter_model.safetensors")
    assert first.keys() == second.keys()
    # at rate zero the second round must hold just what the first one learnt
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(v.abs().sum() > 0 for k, v in first.items() if "lora_B" in k)

    scaled = scale_adapter(saves / "cot_valve_qwen7b_s3", 0.5, saves / "half")
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def merged_weight(adapter: Path | None) -> torch.Tensor:
        model = AutoModelForCausalLM.from_pretrained(byte_model)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        return model.model.layers[0].self_attn.q_proj.weight.detach()

    base = merged_weight(None)
    full = merged_weight(saves / "cot_valve_qwen7b_s3") - base
    assert torch.allclose(merged_weight(scaled) - base, 0.5 * full, atol=1e-6)
    assert full.abs().max() > 0


def test_an_interrupted_run_goes_on_from_its_checkpoint(workspace, byte_model):
    """Stopped after step 2 of 4 and started again: the last steps equal an undisturbed run's."""
    changes = {**START, "model_name_or_path": str(byte_model), "save_strategy": "steps",
               "save_steps": 2, "max_steps": 4}
    straight = workspace / "saves" / "straight"
    run_in_process(workspace / "drp_tiny.yaml", **changes | {"output_dir": str(straight)})
    whole = losses(straight)

    stopped = workspace / "saves" / "stopped"
    changes["output_dir"] = str(stopped)

    class Kill(Exception):
        pass

    from llamafactory.train.tuner import run_exp
    from transformers import TrainerCallback

    class KillAtThree(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 2:
                raise Kill

    settings = yaml.safe_load((workspace / "drp_tiny.yaml").read_text())
    with pytest.raises(Kill):
        run_exp({**settings, **changes}, callbacks=[KillAtThree()])
    assert (stopped / "checkpoint-2").is_dir() and not (stopped / "checkpoint-4").exists()
    run_in_process(workspace / "drp_tiny.yaml", **changes)
    state = json.loads((stopped / "trainer_state.json").read_text())
    resumed = [e["loss"] for e in state["log_history"] if "loss" in e]
    assert state["global_step"] == 4
    assert resumed == pytest.approx(whole, rel=1e-5)


def test_two_processes(workspace, byte_model):
    """torchrun with two gloo processes, as on two GPUs."""
    path = workspace / "scale" / "torchrun_2gpu.yaml"
    rewrite(path, model_name_or_path=str(byte_model), **START)
    done = cli("llamafactory-cli", "train", str(path), cwd=workspace, FORCE_TORCHRUN="1",
               NPROC_PER_NODE="2", GLOO_SOCKET_IFNAME="lo")
    assert re.search(r"world size: 2", done.stdout + done.stderr)
    assert len(losses(workspace / "saves" / "drp_qwen7b_torchrun")) == 2


def greedy(model: Path | str, adapter: Path | None = None) -> list[str]:
    """Short greedy completions, as `drp_hf` makes them."""
    from drp_plugin.llm.messages import Message
    from drp_plugin.sampling.completions import SampleRequest
    from drp_plugin.sampling.transformers_engine import HFSampler

    asked = [SampleRequest(messages=(Message(role="user", content=row["question"]),),
                           max_new_tokens=24) for row in tiny.rows(8)]
    sampler = HFSampler(str(model), peft=None if adapter is None else str(adapter), workers=1)
    return [outcome.text for _, outcome in sorted(sampler.sample(asked))]


EMBEDDED = ("drp_tiny", "ablations/direct_distill_qwen7b", "baselines/tale_pt_sft_qwen7b",
            "baselines/tale_pt_dpo_qwen7b", "baselines/cot_valve_qwen7b_s4", "scale/torchrun_8gpu")


@pytest.mark.parametrize("name", EMBEDDED)
def test_each_kind_trains_the_embedded_student(workspace, name):
    """What LLaMA-Factory saves works as an adapter, merged by PEFT's way and by the export's."""
    from llamafactory.train.tuner import export_model

    from drp_plugin.student import model_path

    student = str(model_path())
    path = workspace / f"{name}.yaml"
    run_in_process(path, model_name_or_path=student, **START | {
        "learning_rate": 0.01, "max_steps": 4, "warmup_ratio": 0.0, "bf16": False})
    adapter = workspace / yaml.safe_load(path.read_text())["output_dir"]
    merged = workspace / "merged"
    export_model({"model_name_or_path": student, "adapter_name_or_path": str(adapter),
                  "template": "deepseekr1", "export_dir": str(merged), "export_device": "cpu",
                  "infer_dtype": "float32"})
    told = greedy(student, adapter)
    assert told == greedy(merged)
    assert told != greedy(student)


def test_fsdp(workspace, byte_model):
    """Sharded over two gloo processes where GPUs would be; stopped after step 2, it goes on."""
    path = workspace / "scale" / "fsdp.yaml"
    start = {k: v for k, v in START.items() if k != "use_cpu"}
    settings = rewrite(path, model_name_or_path=str(byte_model), **start | {
        "save_strategy": "steps", "save_steps": 2, "max_steps": 4})
    output = Path(settings["output_dir"])

    def launch() -> list[float]:
        done = cli("accelerate", "launch", "--config_file", "accelerate/fsdp.yaml",
                   str(Path(__file__).with_name("gloo_for_gpus.py")), str(path), cwd=workspace,
                   GLOO_SOCKET_IFNAME="lo", ACCELERATE_TORCH_DEVICE="cpu")
        assert "world size: 2" in done.stdout + done.stderr
        return losses(output)

    whole = launch()
    assert len(whole) == 4 and (output / "adapter_model.safetensors").is_file()
    shutil.rmtree(output / "checkpoint-4")
    (output / "trainer_log.jsonl").unlink()
    assert launch() == pytest.approx(whole[2:], abs=2e-3)  # bfloat16


def test_ray(workspace, byte_model, monkeypatch):
    """Two workers on a real cluster.

    LLaMA-Factory counts the cluster's devices and asks Ray for ten CPUs with each. Where the
    devices are CPUs, that is more than there are: a second node joins while the request waits.
    """
    ray = pytest.importorskip("ray")
    pytest.importorskip("aiohttp_cors", reason="ray[default] is not installed")
    from ray.cluster_utils import Cluster
    from ray.util.placement_group import placement_group_table

    path = workspace / "scale" / "ray.yaml"
    settings = rewrite(path, model_name_or_path=str(byte_model), **START)
    for name, value in {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={
        "num_cpus": 2, "include_dashboard": True, "dashboard_port": 0})
    try:
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(
                cli, "llamafactory-cli", "train", str(path), cwd=workspace, USE_RAY="1",
                RAY_ADDRESS=cluster.address, GLOO_SOCKET_IFNAME="lo")
            ray.init(cluster.address)
            while not placement_group_table() and not training.done():
                time.sleep(0.5)
            cluster.add_node(num_cpus=20)
            done = training.result()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert "world size: 2" in done.stdout + done.stderr
    output = Path(settings["output_dir"])
    assert len(losses(output)) == 2 and (output / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed(workspace, byte_model, stage):
    """Its plan, with LoRA, on one process."""
    pytest.importorskip("deepspeed")
    path = workspace / "scale" / f"deepspeed_zero{stage}.yaml"
    settings = rewrite(path, model_name_or_path=str(byte_model), **START | {"bf16": False})
    cli("llamafactory-cli", "train", str(path), cwd=workspace, FORCE_TORCHRUN="1",
        NPROC_PER_NODE="1", GLOO_SOCKET_IFNAME="lo", DS_ACCELERATOR="cpu")
    output = Path(settings["output_dir"])
    assert len(losses(output)) == 2 and (output / "adapter_model.safetensors").is_file()


def test_qlora(workspace):
    """Weights of 4 bits, with an optimizer that a CPU has."""
    pytest.importorskip("bitsandbytes")
    from drp_plugin.student import model_path

    path = workspace / "scale" / "qlora_24gb.yaml"
    run_in_process(path, model_name_or_path=str(model_path()), **START | {
        "bf16": False, "optim": "adamw_torch"})
    assert len(losses(Path(yaml.safe_load(path.read_text())["output_dir"]))) == 2
