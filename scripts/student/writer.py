"""Verbose solutions in the manner of R1, written by rule: what the student is pretrained on.

They hesitate, restate, re-check and verify again after the answer is known, as real R1 traces
do, so that the trained student has a verbosity of its own to prune. `minimal` writes the same
solution with nothing to spare, as a yardstick.
"""

import random
from dataclasses import dataclass

from problems import Operation, Problem
from stories import sentence

_OPEN = (
    "Okay, so I need to find how many {goal}.",
    "Alright, let me figure out how many {goal}.",
    "Hmm, let me think about this problem step by step. I need to find how many {goal}.",
    "Okay, let me try to solve this. The question asks how many {goal}.",
)
_CALM_OPEN = (
    "I need to find how many {goal}.",
    "So I need to find how many {goal}.",
    "The question asks how many {goal}.",
    "Let me figure out how many {goal}.",
)
_RESTATE = (
    "The problem says the following. {facts}",
    "First, let me read the problem again. {facts}",
    "Let me restate what I know. {facts}",
)
_PLAN = (
    "Hmm, that seems simple enough, but I should be careful.",
    "It looks like I can just go through it one step at a time.",
    "Let me break it down.",
)
_NOISE = (
    "Wait, it also says that {clause}. I don't think that matters here.",
    "Hmm, I also see that {clause}, but that changes nothing.",
)
_LEAD = {
    "first": ("First, {clause}.", "So first, {clause}.", "To start, {clause}."),
    "next": ("Then {clause}.", "Next, {clause}.", "After that, {clause}.", "Now {clause}."),
}
_COMPUTE = ("So that is {eq}.", "That gives {eq}.", "So I get {eq}.", "That means {eq}.")
_HINT = {
    "+": ("Hmm, that means more, so I should add.", "So I need to add {right} to {left}."),
    "-": ("Hmm, that means fewer, so I should subtract.", "So I need to take {right} from {left}."),
    "*": ("Hmm, so I should multiply here.", "So I need {right} times {left}."),
    "/": ("Hmm, so I should divide here.", "So I need to divide {left} by {right}."),
}
_SLIP = (
    "So I would do {wrong}. Wait, no, that's not right. I should {verb} here.",
    "Maybe it is {wrong}? Hmm, no, I made a mistake, I should {verb} instead.",
)
_VERB = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
_CHECK = (
    "Let me double-check that. {check}. Yes, that's right.",
    "Wait, is that correct? {check}, so yes.",
    "Hmm, let me make sure. {check}. Okay, good.",
    "Let me just check: {check}. That seems right.",
)
_DONE = (
    "So the answer should be {answer}.",
    "So in the end there are {answer} {unit}.",
    "Therefore, the answer is {answer}.",
)
_VERIFY = (
    "Wait, let me verify the whole thing again. {chain}. Yes, that matches.",
    "But let me double-check everything from the start. {chain}. Okay, that is the same.",
    "Let me go through it once more to make sure. {chain}. Good.",
)
_ALTERNATIVE = (
    "Alternatively, I can go backwards from {answer}. {back}. That is where I began, so it fits.",
    "Another way to check is to work backwards from {answer}. {back}. It works.",
)
_SURE = (
    "Hmm, did I read the question correctly? It asks how many {goal}. Yes, I think so.",
    "I don't see any mistake here. I'm pretty confident about it.",
    "Wait, did I miss anything? No, I used all the numbers that matter.",
)
_END = (
    "So the final answer is {answer}.",
    "Okay, so the answer is {answer}.",
    "I'm confident that the answer is {answer}.",
)
_LOOP = "Wait, let me think about it again. {eq}, so that is {result}. Hmm, is that right?"
_SUMMARY = (
    "To find how many {goal}, we go step by step:\n\n{lines}\n\n**Answer:** \\boxed{{{answer}}}",
    "**Solution:**\n\n{lines}\n\n**Answer:** \\boxed{{{answer}}}",
    "Here is the solution:\n\n{lines}\n\nSo the answer is\n\n**Answer:** \\boxed{{{answer}}}",
)


@dataclass(frozen=True)
class Style:
    """How often a solution does what; shares of the solutions or, for steps, of the steps."""

    restate: float = 0.9
    plan: float = 0.5
    hint: float = 0.45
    slip: float = 0.08
    check: float = 0.5
    verify: float = 1.0
    alternative: float = 0.6
    second_verify: float = 0.3
    sure: float = 0.6
    hesitate: float = 1.0
    """Share of the solutions that begin with hesitation."""
    remark: float = 1.0
    """Share of the irrelevant facts that are remarked upon."""
    doubt: float = 0.25
    """Share of the solutions that come to doubt a step for no reason …"""
    stuck: float = 0.45
    """… and share of these that never get out of it: the endless loops of a real student."""

    def calmed(self, share: float) -> "Style":
        """The same with only a share of the hesitation and checking."""
        kept = {"stuck": self.stuck, "remark": self.remark * (1 + share) / 2}
        return Style(**{name: share * value for name, value in vars(self).items()} | kept)


_MOODS = (1.0, 0.5, 0.05)
_MOOD_SHARES = (0.67, 0.08, 0.25)
"""Some solutions are far calmer than others, as a real student's are: fine-tuning on pruned
traces then strengthens what the student can do already, and does not teach it anew."""


def mood(rng: random.Random) -> Style:
    """The style of one solution."""
    return Style().calmed(rng.choices(_MOODS, _MOOD_SHARES)[0])


def thinking(problem: Problem, rng: random.Random, style: Style) -> tuple[str, str]:
    """The text between the think tags, and the paragraph it loops on ("" if it does not).

    The text of a looping solution ends where the loop starts; repeat the paragraph at will.
    """
    shared = {"goal": problem.goal, "answer": problem.answer, "unit": problem.unit}
    opening = _OPEN if rng.random() < style.hesitate else _CALM_OPEN
    paragraphs = [rng.choice(opening).format(**shared)]
    if rng.random() < style.restate:
        facts = " ".join(sentence(clause) for clause in problem.clauses)
        paragraphs.append(rng.choice(_RESTATE).format(facts=facts))
    if rng.random() < style.plan:
        paragraphs.append(rng.choice(_PLAN))
    doubted = rng.randrange(len(problem.steps)) if rng.random() < style.doubt else -1
    for index, step in enumerate(problem.steps):
        for before, clause in problem.noise:
            if before == index and rng.random() < style.remark:
                paragraphs.append(rng.choice(_NOISE).format(clause=clause))
        paragraphs.append(_step(step, index == 0, rng, style))
        if index == doubted:
            loop = _LOOP.format(eq=step.equation, result=step.result)
            paragraphs.append(loop)
            if rng.random() < style.stuck:
                return "\n\n".join(paragraphs), loop
            paragraphs.append("Yes, I already checked that. Let me go on.")
    paragraphs.append(rng.choice(_DONE).format(**shared))
    done = len(paragraphs)
    chain = ". ".join(step.equation for step in problem.steps)
    if rng.random() < style.verify:
        paragraphs.append(rng.choice(_VERIFY).format(chain=chain))
    if rng.random() < style.alternative:
        back = ". ".join(_inverse(step) for step in reversed(problem.steps))
        paragraphs.append(rng.choice(_ALTERNATIVE).format(back=back, **shared))
    if rng.random() < style.sure:
        paragraphs.append(rng.choice(_SURE).format(**shared))
    if rng.random() < style.second_verify:
        paragraphs.append(rng.choice(_VERIFY).format(chain=chain))
    if len(paragraphs) > done:
        paragraphs.append(rng.choice(_END).format(**shared))
    return "\n\n".join(paragraphs), ""


def verbose(problem: Problem, rng: random.Random) -> tuple[str, str]:
    """A whole R1-like response, and the paragraph it loops on.

    `<think>\\n…\\n</think>\\n\\n…\\boxed{N}`; a looping one has no closing tag and no end.
    """
    text, loop = thinking(problem, rng, mood(rng))
    if loop:
        return f"<think>\n{text}", loop
    return f"<think>\n{text}\n</think>\n\n{summary(problem, rng)}", ""


def minimal(problem: Problem, rng: random.Random) -> str:
    """The same response with nothing but the steps."""
    lines = [_step(step, index == 0, rng, None) for index, step in enumerate(problem.steps)]
    text = "\n\n".join(lines)
    return f"<think>\n{text}\n</think>\n\n{summary(problem, rng)}"


def summary(problem: Problem, rng: random.Random) -> str:
    """The answer part: every step on a line, and the answer in a box."""
    lines = "\n".join(f"{i}. {step.equation}" for i, step in enumerate(problem.steps, 1))
    return rng.choice(_SUMMARY).format(goal=problem.goal, lines=lines, answer=problem.answer)


def _step(step: Operation, first: bool, rng: random.Random, style: Style | None) -> str:
    parts = [rng.choice(_LEAD["first" if first else "next"]).format(clause=step.clause)]
    if style and rng.random() < style.hint:
        hint = rng.choice(_HINT[step.symbol])
        parts.append(hint.format(left=step.left, right=step.right))
    if style and rng.random() < style.slip:
        other = rng.choice([symbol for symbol in "+-" if symbol != step.symbol])
        wrong = f"{step.left} {other} {step.right}"
        parts.append(rng.choice(_SLIP).format(wrong=wrong, verb=_VERB[step.symbol]))
    parts.append(rng.choice(_COMPUTE).format(eq=step.equation))
    if style and rng.random() < style.check:
        check = _inverse(step) if rng.random() < 0.6 else step.equation
        parts.append(rng.choice(_CHECK).format(check=check))
    return " ".join(parts)


def _inverse(step: Operation) -> str:
    """The equation that undoes the step."""
    symbol = {"+": "-", "-": "+", "*": "/", "/": "*"}[step.symbol]
    return f"{step.result} {symbol} {step.right} = {step.left}"
