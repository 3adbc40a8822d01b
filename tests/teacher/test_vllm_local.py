"""`vllm:PATH` on the real vLLM, in a process of its environment."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

CODE = """
import asyncio, json, sys
from drp_plugin.llm.messages import Message, Request, Sampling
from drp_plugin.teachers.vllm_local import VllmTeacher

async def main():
    teacher = VllmTeacher(sys.argv[1], engine={"dtype": "float32", "enforce_eager": True})
    def ask(**sampling):
        return teacher.ask(Request(messages=(Message(role="user", content="2 + 3 = ?"),),
                                   sampling=Sampling(**sampling)))
    first, again, short = await asyncio.gather(ask(max_tokens=24), ask(max_tokens=24),
                                               ask(max_tokens=3))
    await teacher.close()
    print("RESULT " + json.dumps([first.model_dump(), again.text, short.model_dump()]))

asyncio.run(main())
"""


@pytest.mark.vllm
def test_it_answers_counts_and_names_a_cut_reply(vllm_python):
    from drp_plugin.student import __file__ as student

    model = os.path.join(os.path.dirname(student), "model")
    if not os.path.exists(os.path.join(model, "model.safetensors")):
        pytest.skip("the embedded student's weights are not here")
    ran = subprocess.run([str(vllm_python), "-c", CODE, model], capture_output=True, text=True,
                         env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1",
                              "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}, timeout=600)
    lines = [x for x in ran.stdout.splitlines() if x.startswith("RESULT ")]
    assert lines, ran.stderr[-3000:]
    first, again, short = json.loads(lines[0].removeprefix("RESULT "))
    assert first["text"] == again and first["usage"]["prompt_tokens"] > 0
    assert short["finish_reason"] == "length" and short["usage"]["completion_tokens"] == 3


def test_without_vllm_it_says_what_to_install():
    try:
        import vllm  # noqa: F401
    except ImportError:
        from drp_plugin.errors import UserError
        from drp_plugin.teachers.registry import make_teacher

        with pytest.raises(UserError, match=r"pip install .*\[vllm\]"):
            make_teacher("vllm:/some/model")
    else:
        pytest.skip("vLLM is installed here")
