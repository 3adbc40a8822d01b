"""`python -m drp_plugin.training.thinkprune CONFIG.yaml [KEY=VALUE]...`"""

from __future__ import annotations

import sys
from pathlib import Path

from drp_plugin.errors import UserError, refusal

USAGE = """\
usage: python -m drp_plugin.training.thinkprune CONFIG.yaml [KEY=VALUE]...

ThinkPrune: GRPO with reward 1 for a correct answer within the limit L, else 0, while L falls from
stage to stage. Run it again after an interruption: finished stages are kept, the unfinished one
goes on from its last checkpoint. On several GPUs:

  accelerate launch --num_processes 4 -m drp_plugin.training.thinkprune CONFIG.yaml
"""


def main(arguments: list[str]) -> int:
    """0 done, 2 the user's mistake."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    from drp_plugin.training.thinkprune.config import read_config
    from drp_plugin.training.thinkprune.questions import load_questions
    from drp_plugin.training.thinkprune.train import require, run

    try:
        config = read_config(Path(arguments[0]), arguments[1:])
        require()
        questions = load_questions(config.questions)
        print(f"{len(questions)} questions, limits {', '.join(map(str, config.limits))}",
              file=sys.stderr)
        print(run(config, questions))
    except (UserError, OSError) as error:
        print(f"drp: {refusal(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
