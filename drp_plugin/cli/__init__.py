"""The `drp` command. A subcommand's module of this package is imported when it is used."""

import copy
import functools
import importlib
import re
import shlex
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from traceback import extract_tb
from typing import Any

import click

from drp_plugin import __version__
from drp_plugin.errors import UserError, absent, meant, refusal
from drp_plugin.resources import table
from drp_plugin.terminal import inert, say

_MODULES: dict[str, dict[str, str]] = table("commands.yaml")
COMMANDS = {name: text for of_one in _MODULES.values() for name, text in of_one.items()}
_SOON_S = 0.6
_SAID: dict[str, list[str]] = table("next.yaml")
_HELP: dict[str, dict[str, str]] = table("help/options.yaml")


class LazyGroup(click.Group):
    """Imports a subcommand only when it is called, so that `drp --help` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = next(module for module, of_one in _MODULES.items() if cmd_name in of_one)
        module = importlib.import_module(f"{__name__}.{name}")
        command: click.Command = copy.copy(getattr(module, cmd_name.replace("-", "_")))
        texts = {**_HELP["shared"], **_HELP.get(cmd_name, {})}
        for option in (p for p in command.params if isinstance(p, click.Option)):
            option.help = option.help or texts.get(option.name)
            if isinstance(option.type, click.IntRange | click.FloatRange):
                option.metavar = option.metavar or "N"
                if (option.type.max or 0) >= 10 ** 9:  # a bound that nobody reaches is not shown
                    least = f"x>{'=' * (not option.type.min_open)}{option.type.min}"
                    option.type._describe_range = functools.partial(  # type: ignore[method-assign]
                        str, least if (option.type.min or 0) >= 0 else "64 bits")
        if cmd_name in _SAID and command.callback:
            first, following = _SAID[cmd_name]
            command.callback = _saying(first, following, command.callback)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]
                        ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            said = f"{error.message} {meant(args[0], COMMANDS)}"
            raise click.UsageError(said, ctx) from None  # `_run` strips it

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _saying(first: str, following: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """A command that says within a second what it does, and the next one at its end."""
    @functools.wraps(call)
    def saying(**given: Any) -> Any:
        shown = {k: " ".join(map(str, v)) if isinstance(v, tuple) else v for k, v in given.items()}
        quiet = any(map(given.get, ("quiet", "as_json", "dry_run", "status")))
        soon = threading.Timer(_SOON_S, say, [first.format_map(shown)])
        soon.daemon = True
        if first and not quiet:
            soon.start()
        try:
            code = call(**given)
        finally:
            soon.cancel()
            if soon.is_alive():
                soon.join()  # the first line must end before the next one begins
        if not code and not quiet and not given.get("forecast") and not given.get("serve"):
            words = {k: shlex.join(re.sub("^-(?=.)", "./-", str(part))  # else it is an option
                                   for part in (v if isinstance(v, tuple) else (v,)))
                     for k, v in given.items()}
            click.echo(f"next: {following.format_map(words)}".rstrip(), err=True)
        return code

    return saying


def page(command: str) -> str:
    """A command's page of help, as `drp COMMAND --help` shows it above the options."""
    folder = Path(__file__).resolve().parents[1] / "data" / "help"
    return (folder / f"{command}.txt").read_text("utf-8")


@click.group(cls=LazyGroup, invoke_without_command=True, help=page("drp"),
             context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100,
                               "show_default": True})
@click.version_option(__version__, prog_name="drp")
@click.pass_context
def group(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Exits with 0 done, 1 --strict rejects, 2 a user's mistake, 3 --max-cost, 130 interrupted."""
    if sys.platform not in ("linux", "darwin"):
        fail(f"runs on Linux and macOS, not on {sys.platform}. On Windows, install it in WSL")
    with inert():
        _run(arguments)


def _run(arguments: list[str] | None) -> None:
    if "" in (sys.argv[1:] if arguments is None else arguments):  # as a path, it is this folder
        fail("an argument is empty: is a variable of the shell not set?")
    try:
        code = group.main(arguments, prog_name="drp", standalone_mode=False)
        sys.stdout.flush()  # a disk that filled up meanwhile is reported like any other
    except ModuleNotFoundError as error:
        if (said := absent(error)) is None:
            raise
        fail(str(said))
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        fail(" ".join(error.format_message().split()) + hint)
    except (KeyboardInterrupt, click.Abort):
        say("interrupted; run the same command again to resume")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)  # the reader (head, less) has gone: nothing to say, and nobody to say it to
    except (UserError, OSError, UnicodeEncodeError) as error:  # a full disk too
        fail(refusal(error))
    except RuntimeError as error:
        if Path(extract_tb(error.__traceback__)[-1].filename).stem != "pathlib":
            raise
        fail(str(error))  # a circle of links, or no home directory
    except Exception as error:
        if type(error).__module__ != "sqlite3":
            raise
        fail(f"temporary files cannot be written ({error}). Free the disk, or let SQLITE_TMPDIR "
             "name a folder with room")  # the ledger's own message says what is wrong
    sys.exit(code if isinstance(code, int) else 0)


def fail(text: str) -> None:
    """Print one line on stderr and exit with 2."""
    say(text)
    sys.exit(2)
