"""A tokenizer's way to the Hugging Face hub."""

from typing import Any

from tfmodels.utils.hub_upload import upload


def push_to_hub(
    tokenizer: Any,
    repo_id: str,
    private: bool | None = None,
    commit_message: str = "Upload tokenizer",
    token: str | bool | None = None,
    revision: str | None = None,
) -> str:
    """Upload what `save_pretrained` writes, in one commit, in place of an earlier tokenizer (extra `hub`).

    `model.push_to_hub(repo_id, tokenizer=tokenizer)` uploads both in one commit.

    Args:
        tokenizer: the tokenizer.
        repo_id: "OWNER/NAME", created when missing.
        private, commit_message, token, revision: as in `PretrainedModel.push_to_hub`.

    Returns:
        The address of the commit.
    """
    former = (*tokenizer.file_names, *tokenizer.further_file_names)
    return upload(repo_id, tokenizer.save_pretrained, former, private, commit_message, token, revision)
