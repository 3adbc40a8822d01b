"""`drp init`."""

from pathlib import Path

import click

from drp_plugin.cli import page


@click.command("init", help=page("init"))
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--dataset-dir", type=click.Path(file_okay=False, path_type=Path),
              help="Where `drp build -o` puts its sets (default: DIR/data).")
@click.option("--models", type=click.Path(file_okay=False, path_type=Path),
              help="Folder with local copies of the students, each under its own name.")
@click.option("--student", metavar="MODEL", help="Another student: a model's folder or hub name.")
@click.option("--template", metavar="T", help="Its template in LLaMA-Factory; with --student.")
@click.option("--force", is_flag=True, help="Overwrite configs that are there.")
def command(folder: Path, dataset_dir: Path | None, models: Path | None, student: str | None,
            template: str | None, force: bool) -> None:
    from drp_plugin.errors import UserError
    from drp_plugin.training.workspace import init, own_student

    if template and not student:
        raise UserError("--template goes with --student", fix="Give --student MODEL as well")
    own = own_student(student, template) if student else None
    written = init(folder, dataset_dir=dataset_dir, models=models, student=own, force=force)
    click.echo(f"{len(written)} files in {folder}; next: cd {folder} && "
               f"llamafactory-cli train drp_{own.name if own else 'qwen7b'}.yaml", err=True)
    if own:
        click.echo("note: build its sets with drp build "
                   f"--template {own.template} --tokenizer {own.model}", err=True)
    if any(c.isspace() for c in str(folder.resolve())):
        click.echo("note: torchrun cannot start a YAML whose path has spaces", err=True)
    for path in written:
        if path.parent == folder.resolve():
            click.echo(str(path))
