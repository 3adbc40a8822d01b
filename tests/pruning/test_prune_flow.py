"""One trace through the stages: what goes right, and every way in which it does not."""

from __future__ import annotations

import json

import pytest
from scripted import ANSWER, INDEXED, REVISION, STEPS, THINKING, TRACE, Scripted, prune, words

from drp_plugin.llm.messages import Reply, TeacherError, TooLong
from drp_plugin.pruning.flow import PruneOptions
from drp_plugin.records import Action, Pruned, Reason, Reject
from drp_plugin.thinking import split_response

LOOSE = PruneOptions(check_numbers=False, check_length=False)


def rejected(value: Pruned | Reject, stage: str, reason: Reason) -> Reject:
    assert isinstance(value, Reject), value
    assert (value.stage, value.reason) == (stage, reason), value.detail
    assert value.row["id"] == value.id
    return value


def test_skill_mode_from_end_to_end() -> None:
    teacher = Scripted(STEPS, REVISION)
    row = prune(teacher)
    assert isinstance(row, Pruned), row
    assert [step.skill for step in row.steps] == ["Interpreting a quantity", "Division",
                                                  "Hesitating", "Division"]
    assert [THINKING[s.start : s.end] for s in row.steps] == [s.text for s in row.steps]
    assert [r.action for r in row.revisions] == [Action.COMPRESS, Action.KEEP, Action.DELETE,
                                                 Action.KEEP]
    split = split_response(row.response)
    assert split.thinking.endswith("The answer is 5.") and split.answer == ANSWER
    assert row.response.startswith("<think>\n") and "\n</think>\n\n" in row.response
    assert row.coverage == 1.0 and row.original == TRACE.response
    assert (row.tokens_before, row.tokens_after) == (words(TRACE.response), words(row.response))
    assert row.usage.requests == 2 and row.usage.cost_usd == 1.0
    assert all(found["ok"] for found in row.verdict.values())
    shown = [request.messages[0].content for request in teacher.requests]
    assert "exactly one atomic mathematical skill" in shown[0] and THINKING in shown[0]
    assert "four actions" in shown[1] and "Step 3: Hmm, let me see." in shown[1]
    assert all(TRACE.question in text for text in shown) and ANSWER in shown[1]


def test_a_teacher_that_shows_its_own_thinking() -> None:
    """Nothing before the last closing tag is its answer, though it may look like one."""
    thought = "<think>\nStep 1: wrong\nSkill: none\nStep 1: DELETE\n</think>\n\n"
    row = prune(Scripted(thought + STEPS, thought.removeprefix("<think>") + REVISION))
    assert isinstance(row, Pruned), row
    assert row.model_copy(update={"usage": None}) == prune(
        Scripted(STEPS, REVISION)).model_copy(update={"usage": None})
    rejected(prune(Scripted(thought, STEPS.replace("Step", "Part"))), "decompose",
             Reason.BAD_FORMAT)


def test_default_mode_asks_for_no_skills() -> None:
    teacher = Scripted(STEPS.replace("Skill:", "Skull:"), REVISION)
    row = prune(teacher, PruneOptions(decompose="default", min_coverage=0.5))
    assert isinstance(row, Pruned), row
    assert all(step.skill is None for step in row.steps)
    prompt = teacher.requests[0].messages[0].content
    assert prompt.startswith("Segment the explanation into clear, non-overlapping steps.")
    assert "skill" not in prompt.lower()


def test_sentence_mode_asks_only_for_the_revision() -> None:
    teacher = Scripted(REVISION.replace("Step 4: KEEP", "Step 4: KEEP\nStep 5: KEEP"))
    row = prune(teacher, PruneOptions(decompose="sentence"))
    assert isinstance(row, Pruned), row
    assert len(row.steps) == 5 and row.usage.requests == 1 and row.coverage == 1.0


def test_indexed_mode_is_one_request_that_never_gets_t_back() -> None:
    teacher = Scripted(INDEXED)
    row = prune(teacher, PruneOptions(decompose="indexed"))
    assert isinstance(row, Pruned), row
    assert split_response(row.response).thinking == (
        "Joy reads 8 pages in 20 min. That is 8 / 20 = 0.4 pages a minute.\n\n"
        "For 120 pages she needs 120 / 0.4 = 300 minutes. Then 300 / 60 = 5. The answer is 5.")
    assert [THINKING[s.start : s.end] for s in row.steps] == [s.text for s in row.steps]
    assert row.coverage == 1.0
    assert teacher.requests[0].json_schema is not None
    assert "[3] Hmm, let me see." in teacher.requests[0].messages[0].content


def test_the_same_replies_give_the_same_row() -> None:
    assert prune(Scripted(STEPS, REVISION)) == prune(Scripted(STEPS, REVISION))


def test_a_revised_answer_part_is_taken() -> None:
    row = prune(Scripted(STEPS, REVISION.replace("UNCHANGED", "It takes \\boxed{5} hours.")))
    assert isinstance(row, Pruned) and row.response.endswith("\n\nIt takes \\boxed{5} hours.")


@pytest.mark.parametrize(("response", "reason"), [
    ("<think>\nno end", Reason.NO_THINK_END),
    ("<think>\n</think>\n\n\\boxed{5}", Reason.EMPTY_TRACE),
    ("<think>\nT\n</think>\n\n", Reason.NO_ANSWER),
    ("<think>\nT\n</think>\n\n\\boxed{6}", Reason.WRONG_ANSWER)])
def test_bad_traces_cost_nothing(response: str, reason: Reason) -> None:
    trace = TRACE.model_copy(update={"response": response})
    rejected(prune(Scripted(), trace=trace), "trace", reason)


def test_wrong_traces_pass_on_demand() -> None:
    trace = TRACE.model_copy(update={"answer": "6"})
    row = prune(Scripted(STEPS, REVISION), PruneOptions(keep_wrong=True), trace)
    assert isinstance(row, Pruned) and row.verdict["answer"]["gold"] is False


def test_one_repair_round_that_names_the_error() -> None:
    teacher = Scripted("I split it.", STEPS, REVISION.replace("Step 2: KEEP\n", ""), REVISION)
    row = prune(teacher)
    assert isinstance(row, Pruned) and row.usage.requests == 4
    repair = teacher.requests[1].messages
    assert [m.role for m in repair] == ["user", "assistant", "user"]
    assert repair[1].content == "I split it." and "Step 1:" in repair[2].content
    assert "these steps have no action: 2" in teacher.requests[3].messages[2].content


def test_what_stays_out_of_format_is_rejected_with_the_reply() -> None:
    found = rejected(prune(Scripted("no", "still no")), "decompose", Reason.BAD_FORMAT)
    assert found.reply == "still no" and found.usage.requests == 2
    rejected(prune(Scripted(STEPS, "no", "no")), "revise", Reason.BAD_FORMAT)
    rejected(prune(Scripted("no"), PruneOptions(repairs=0)), "decompose", Reason.BAD_FORMAT)


def test_empty_refused_and_failed() -> None:
    rejected(prune(Scripted("", " \n")), "decompose", Reason.EMPTY_REPLY)
    rejected(prune(Scripted(Reply(text="No.", finish_reason="refusal"))), "decompose",
             Reason.REFUSED)
    found = prune(Scripted(STEPS, TeacherError("gone", Reason.REQUEST_FAILED)))
    assert rejected(found, "revise", Reason.REQUEST_FAILED).usage.requests == 1


def test_left_out_text_is_named_and_then_rejected() -> None:
    short = STEPS.split("\n\nStep 4")[0]
    teacher = Scripted(short, short)
    found = rejected(prune(teacher), "decompose", Reason.LOW_COVERAGE)
    assert "For 120 pages she needs" in teacher.requests[1].messages[2].content
    assert "%" in found.detail
    row = prune(Scripted(short, REVISION.replace("Step 4: KEEP\n", "")),
                PruneOptions(min_coverage=0.3))
    assert isinstance(row, Pruned) and 0.3 < (row.coverage or 0) < 0.9


def test_an_invented_step_does_not_count_as_coverage() -> None:
    invented = STEPS.replace("For 120 pages she needs 120 / 0.4 = 300 minutes. Then 300 / 60 = 5.",
                             "Whatever the teacher felt like saying instead of the real text here.")
    rejected(prune(Scripted(invented, invented)), "decompose", Reason.LOW_COVERAGE)


def cut(text: str) -> Reply:
    return Reply(text=text, finish_reason="length")


def test_a_cut_decomposition_goes_on_behind_its_whole_steps() -> None:
    head, tail = STEPS.split("Step 3")
    rest = "Step 1" + tail.replace("Step 4", "Step 2")
    teacher = Scripted(cut(head + "Step 3: Hmm, l"), rest, REVISION)
    row = prune(teacher)
    assert isinstance(row, Pruned), row
    assert [s.text for s in row.steps] == [s.text for s in prune(Scripted(STEPS, REVISION)).steps]  # type: ignore[union-attr]
    again = teacher.requests[1].messages[0].content
    assert "Joy reads 8" not in again.split("<reasoning>")[1] and "Hmm, let me see." in again


def test_a_cut_reply_is_never_an_answer() -> None:
    found = rejected(prune(Scripted(*[cut("Step 1: Okay")] * 20)), "decompose", Reason.CUT_REPLY)
    assert found.usage.requests < 10
    found = rejected(prune(Scripted(STEPS, *[cut(REVISION)] * 20)), "revise", Reason.CUT_REPLY)
    assert found.usage.requests < 10
    found = rejected(prune(Scripted(*[cut(INDEXED[:20])] * 20), PruneOptions(decompose="indexed")),
                     "decompose", Reason.CUT_REPLY)
    assert found.usage.requests < 20


def test_a_cut_revision_is_asked_for_in_halves() -> None:
    first = "Step 1: KEEP\nStep 2: KEEP\n\n## SYNTHESIS\nJoy reads 8 pages in 20 minutes. The " \
            "answer is near.\n\n## ANSWER\nUNCHANGED"
    second = "Step 3: DELETE\nStep 4: KEEP\n\n## SYNTHESIS\nSo 300 / 60 = 5. The answer is 5.\n"
    teacher = Scripted(STEPS, cut(REVISION[:60]), first, second)
    row = prune(teacher, LOOSE)
    assert isinstance(row, Pruned), row
    assert split_response(row.response).thinking == \
        "Joy reads 8 pages in 20 minutes.\n\nSo 300 / 60 = 5. The answer is 5."
    assert [r.steps for r in row.revisions] == [(1,), (2,), (3,), (4,)]
    early, late = (request.messages[0].content for request in teacher.requests[2:])
    assert "without stating a final answer" in early and "The explanation so far" not in early
    assert "Joy reads 8 pages" in late.split("<so_far>")[1]


def test_windows_meet_where_a_step_ends() -> None:
    parts = [f"First sentence of part {i} is here. Second one adds {i} + 1 = {i + 1} to it."
             for i in range(12)]
    thinking = "\n\n".join(parts)
    trace = TRACE.model_copy(update={"response": f"<think>{thinking}</think>\\boxed{{5}}"})

    class Copying(Scripted):
        """Segments whatever part it is shown, a sentence a step."""

        async def ask(self, request):  # type: ignore[no-untyped-def]
            from drp_plugin.pruning.decompose import decompose_sentences
            prompt = request.messages[0].content
            if "<reasoning>" in prompt:
                text = prompt.split("<reasoning>\n")[1].rsplit("\n</reasoning>", 1)[0]
                steps = decompose_sentences(text)
                self.replies.insert(0, "\n\n".join(f"Step {s.index}: {s.text}\nSkill: S"
                                                   for s in steps))
            else:
                listing = prompt.split("<steps")[1]
                numbers = [int(line.split()[1][:-1]) for line in listing.splitlines()
                           if line.startswith("Step ")]
                end = " The answer is 5." if "End the explanation" in prompt else ""
                self.replies.insert(0, "\n".join(f"Step {n}: KEEP" for n in numbers)
                                    + f"\n\n## SYNTHESIS\nPart {numbers[0]}.{end}")
            return await super().ask(request)

    teacher = Copying()
    row = prune(teacher, PruneOptions(window_tokens=60, check_numbers=False), trace)
    assert isinstance(row, Pruned), row
    assert row.coverage == 1.0 and len(row.steps) == 24
    assert [s.text for s in row.steps] == [
        t for i in range(12) for t in (f"First sentence of part {i} is here.",
                                       f"Second one adds {i} + 1 = {i + 1} to it.")]
    spans = [(s.start, s.end) for s in row.steps]
    assert spans == sorted(spans) and thinking[spans[0][0] : spans[-1][1]] == thinking
    asked = [r.tag for r in teacher.requests]
    assert asked.count("decompose") > 3 and asked.count("revise") > 2
    assert split_response(row.response).thinking.count("The answer is 5.") == 1


def test_indexed_windows_keep_the_partition() -> None:
    thinking = " ".join(f"Sentence number {i} stands here for all to see." for i in range(30))
    trace = TRACE.model_copy(update={"response": f"<think>{thinking}</think>\\boxed{{5}}"})

    class Pairs(Scripted):
        async def ask(self, request):  # type: ignore[no-untyped-def]
            prompt = request.messages[0].content
            first, last = (int(w) for w in prompt.split("from unit ")[1].split(".")[0]
                           .split(" to unit "))
            steps = [{"u": f"{n}-{min(n + 1, last)}", "k": "S", "a": "KEEP"}
                     for n in range(first, last + 1, 2)]
            self.replies.append(json.dumps({"steps": steps, "answer": None}))
            return await super().ask(request)

    teacher = Pairs()
    row = prune(teacher, PruneOptions(decompose="indexed", window_tokens=60, check_length=False),
                trace)
    assert isinstance(row, Pruned), row
    assert len(teacher.requests) > 3
    assert " ".join(step.text for step in row.steps) == thinking
    assert split_response(row.response).thinking == thinking
    assert "<so_far>" in teacher.requests[-1].messages[0].content


def test_no_row_can_ask_for_ever() -> None:
    class Slow(Scripted):
        async def ask(self, request):  # type: ignore[no-untyped-def]
            text = request.messages[0].content.split("<reasoning>\n")[1]
            words_left = text.split()
            self.replies = [cut(f"Step 1: {words_left[0]}\nSkill: S\nStep 2: {words_left[1]}\n"
                                f"Skill: S\nStep 3: {words_left[2]}")]
            return await super().ask(request)

    thinking = " ".join(f"word{i}." for i in range(500))
    trace = TRACE.model_copy(update={"response": f"<think>{thinking}</think>\\boxed{{5}}"})
    found = rejected(prune(Slow(), PruneOptions(max_requests=10), trace), "decompose",
                     Reason.CUT_REPLY)
    assert found.usage.requests == 10


def test_all_reject_details_are_one_line() -> None:
    found = prune(Scripted(STEPS, TeacherError("two\nlines")))
    assert isinstance(found, Reject) and "\n" not in found.detail


@pytest.mark.parametrize(("change", "reason"), [
    ({"response": TRACE.response.replace("</think>", ""), "finish": "stop"}, Reason.NO_THINKING),
    ({"response": TRACE.response.replace("</think>", ""), "finish": "length"},
     Reason.NO_THINK_END),
    ({"response": "<think>a</think>b" + TRACE.response}, Reason.THINK_TWICE),
    ({"response": TRACE.response.replace("</think>", " <|im_end|> x</think>")},
     Reason.CONTROL_TOKEN),
    *(({"response": TRACE.response.replace("</think>", f" {mark} x</think>")},
       Reason.CONTROL_TOKEN) for mark in ("<|eot_id|>", "<end_of_turn>", "[/INST]")),
    ({"question": "Why <|endoftext|>?"}, Reason.CONTROL_TOKEN),
    ({"question": "Why <think>?"}, Reason.THINK_TWICE),
    ({"question": "Why <｜User｜>?"}, Reason.CONTROL_TOKEN),
    ({"response": TRACE.response.partition("</think>")[0] + "</think>"}, Reason.NO_ANSWER)])
@pytest.mark.parametrize("keep_wrong", [False, True])
def test_what_build_refuses_is_not_paid_for(change: dict, reason: Reason,
                                            keep_wrong: bool) -> None:
    teacher = Scripted()  # raises when it is asked
    found = prune(teacher, PruneOptions(keep_wrong=keep_wrong), TRACE.model_copy(update=change))
    assert isinstance(found, Reject) and (found.stage, found.reason) == ("trace", reason)
    assert found.usage.requests == 0


def test_every_layouts_control_tokens_are_known() -> None:
    from drp_plugin.thinking import CONTROL_TOKENS
    from drp_plugin.training.templates import FAMILIES, Family

    # layouts that LLaMA-Factory, or a student's own chat template, brings
    others = [Family(name, *parts) for name, parts in {
        "llama3": ("<|begin_of_text|>", "<|start_header_id|>user<|end_header_id|>\n\n",
                   "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
        "gemma": ("<bos>", "<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n",
                  "<end_of_turn>\n"),
        "phi4": ("", "<|im_start|>user<|im_sep|>", "<|im_end|><|im_start|>assistant<|im_sep|>",
                 "<|im_end|>"),
        "glm4": ("[gMASK]<sop>", "<|user|>\n", "<|assistant|>\n", "<|user|>"),
        "mistral": ("<s>", "[INST] ", "[/INST]", "</s>")}.items()]
    for family in (*FAMILIES.values(), *others):
        assert set(family.marks()) <= set(CONTROL_TOKENS), family.template


LOOPING = INDEXED[:20] + "and so on and so on, " * 200
WRONG = INDEXED.replace('"u": "1"', '"u": "4"')[:200]


PROSE = "Sure! Let me think about the set \\{1, 2\\} and what each of the steps is for. First, I"


@pytest.mark.parametrize(("reply", "named"), [
    (LOOPING, "it repeats itself"), (WRONG, "step 1 covers units 4-4"),
    (PROSE, "it is not a JSON object"),
    ("Sure: " + "and so on and so on, " * 200, "it repeats itself"),
])
def test_a_cut_reply_that_is_wrong_is_told_so_and_halves_nothing(reply: str, named: str) -> None:
    teacher = Scripted(cut(reply), INDEXED)
    assert isinstance(prune(teacher, PruneOptions(decompose="indexed")), Pruned)
    assert named in teacher.requests[1].messages[-1].content
    found = rejected(prune(Scripted(cut(reply), cut(reply)), PruneOptions(decompose="indexed")),
                     "indexed", Reason.BAD_FORMAT)
    assert named in found.detail


@pytest.mark.parametrize(("before", "after"), [([], [STEPS, REVISION]), ([STEPS], [REVISION])])
def test_a_teacher_that_loops_is_told_so_in_both_stages(before: list, after: list) -> None:
    """Whatever it was asked: a smaller part would only be asked for more often."""
    looping = cut("Step 1: Okay. " + "And so on and so on. " * 200)
    teacher = Scripted(*before, looping, *after)
    assert isinstance(prune(teacher), Pruned)
    assert "it repeats itself" in teacher.requests[len(before) + 1].messages[-1].content
    found = prune(Scripted(*before, looping, looping))
    assert isinstance(found, Reject) and found.reason is Reason.BAD_FORMAT
    assert "it repeats itself" in found.detail


def test_a_reply_that_is_cut_while_it_thinks_is_no_wrong_one() -> None:
    thought = "<think>\nLet me see: [{" + '"u": "9", "a": "KEEP"} and so on, ' * 3
    teacher = Scripted(cut(thought), *[INDEXED] * 3)
    prune(teacher, PruneOptions(decompose="indexed"))
    assert len(teacher.requests[1].messages) == 1, "a shorter window, and no complaint"


@pytest.mark.parametrize("mode", ["skill", "indexed"])
def test_a_prompt_over_the_context_is_halved_until_it_fits(mode: str) -> None:
    whole = Scripted(TooLong("HTTP 400: context length"), TooLong("HTTP 400: context length"),
                     "nonsense", "nonsense")
    found = prune(whole, PruneOptions(decompose=mode), count=lambda text: 20 * len(text))
    sizes = [len(r.messages[0].content) for r in whole.requests[:3]]
    assert sizes[2] < min(sizes[:2])
    assert isinstance(found, Reject) and found.reason is Reason.BAD_FORMAT
    found = prune(Scripted(*[TooLong("HTTP 400: context length")] * 90),
                  PruneOptions(decompose=mode), count=lambda text: 20 * len(text))
    assert isinstance(found, Reject) and found.reason is Reason.CUT_REPLY
    assert "of this length" in found.detail and "context length" in found.detail
