"""Uploads to the Hugging Face hub: everything in one commit, or nothing."""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

CARD = "README.md"


def upload(
    repo_id: str,
    write: Callable[[Path], None],
    former: Sequence[str] = (),
    private: bool | None = None,
    commit_message: str = "Upload with tfmodels",
    token: str | bool | None = None,
    revision: str | None = None,
) -> str:
    """Write files into a temporary folder and upload them in one commit; a card in the repository stays.

    Args:
        repo_id: "OWNER/NAME", created when missing.
        write: writes the files into a folder.
        former: patterns of files in the repository that go when they are not among the new ones.
        private: whether a new repository is private; None: the account's default.
        commit_message: the commit's title.
        token: a token of the hub; None: that of the machine, see `huggingface-cli login`.
        revision: the branch; None: "main".

    Returns:
        The address of the commit.

    Raises:
        ImportError: the extra `hub` is missing.
        ValueError: a bad name.
        OSError: the hub refuses or cannot be reached; its errors are `huggingface_hub`'s own.
    """
    repo_id = checked_repo_id(repo_id)
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ImportError("push_to_hub needs huggingface_hub: install tfmodels[hub]") from None
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        # Behind the writing: what cannot be saved leaves no empty repository.
        api.create_repo(repo_id, private=private, exist_ok=True)
        has_card = (folder / CARD).exists() and api.file_exists(repo_id, CARD, revision=revision)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=commit_message,
            revision=revision,
            ignore_patterns=[CARD] if has_card else None,
            delete_patterns=list(former) or None,
        )
    return str(commit.commit_url)


def checked_repo_id(repo_id: str | os.PathLike[str]) -> str:
    """The name of a repository, "hf://" before it or not.

    Raises:
        ValueError: another form.

    >>> checked_repo_id("hf://me/summaries")
    'me/summaries'
    """
    name = os.fspath(repo_id).removeprefix("hf://")
    if name.count("/") > 1 or "@" in name or not all(name.split("/")):
        raise ValueError(f"repo_id must be OWNER/NAME. Received: repo_id={os.fspath(repo_id)!r}")
    return name
