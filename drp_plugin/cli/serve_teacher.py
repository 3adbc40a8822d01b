"""`drp serve-teacher`: the offline teacher over HTTP."""


import click

from drp_plugin.cli import page
from drp_plugin.cli._options import Number
from drp_plugin.terminal import say


@click.command("serve-teacher", help=page("serve-teacher"))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8100, show_default=True)
@click.option("--model", default="offline-rules", show_default=True,
              help="The name by which clients ask for it.")
@click.option("--quality", type=Number(0, 1, min_open=True), default=1.0, show_default=True,
              help="Share of the rules' judgements that stay; the others are turned round.")
@click.option("--delay", type=Number(0), default=0.0, show_default=True,
              help="Seconds that every answer takes, as a real model's would.")
def command(host: str, port: int, model: str, quality: float, delay: float) -> None:
    from drp_plugin.teachers.offline import OfflineTeacher
    from drp_plugin.teachers.serve import serve

    say(f"offline rules (no model) at http://{host}:{port}/v1 as {model!r}; Ctrl-C ends it")
    serve(OfflineTeacher(quality=quality), host=host, port=port, model=model, delay_s=delay)
