"""Pushing a built set to the Hugging Face hub."""

import re
import shutil
import tempfile
from pathlib import Path

from drp_plugin.errors import UserError


def push(folder: Path, name: str, repository: str, *, private: bool = True) -> str:
    """Upload set, provenance and card (as README.md), by the token of HF_TOKEN or `hf auth login`;
    returns the repository's address. UserError without huggingface_hub or when the hub refuses."""
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError("--push-to-hub needs huggingface_hub",
                        fix="pip install huggingface_hub") from None
    with tempfile.TemporaryDirectory() as staging:
        shutil.copy(folder / f"{name}.json", Path(staging) / f"{name}.json")
        for file in (f"{name}.provenance.jsonl", f"{name}.card.json"):
            # paths of the builder's own machine are cut to the run's name and file
            text = re.sub(r'"[^"]*?([^"/]+/[^"/]+\.jsonl)"', r'"\1"',
                          (folder / file).read_text("utf-8"))
            (Path(staging) / file).write_text(text, encoding="utf-8")
        shutil.copy(folder / f"{name}.md", Path(staging) / "README.md")
        try:
            api = HfApi()
            url = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
            api.upload_folder(repo_id=url.repo_id, repo_type="dataset", folder_path=staging,
                              commit_message=f"{name}, built by drp-plugin")
        except Exception as error:  # HTTP, authentication, name: all the user's to mend
            reason = str(error).strip().splitlines()
            raise UserError(f"the hub refused {repository!r}: {reason[0] if reason else error!r}",
                            fix="Set HF_TOKEN to a token that may write there") from None
    return f"https://huggingface.co/datasets/{url.repo_id}"
