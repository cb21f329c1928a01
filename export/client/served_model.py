"""Which model to ask, of which server; needs the standard library alone."""

import re
from dataclasses import dataclass

DEFAULT_NAME = "model"
"""The stock image's default name."""


@dataclass(frozen=True)
class ServedModel:
    """A model on a server.

    Attributes:
        server: "host:port".
        name: the model's name on the server.
        version: its version; None: that of the label, or the server's choice, normally the highest.
        label: a name for a version in the server's `models.config`, such as "stable"; None: no label.
        timeout: seconds to wait for an answer.

    Raises:
        ValueError: a server without a port, an empty name or label, a version or timeout that is not positive, or
            both a version and a label.

    >>> ServedModel("localhost:8500", label="canary").described
    'name=model, label=canary'
    """

    server: str
    name: str = DEFAULT_NAME
    version: int | None = None
    label: str | None = None
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(https?://)?[^\s/]+:\d+(/\S*)?", self.server):
            raise ValueError(f"server must be HOST:PORT. Received: server={self.server}")
        if not self.name:
            raise ValueError("name must not be empty. Received: name=''")
        if self.label == "":
            raise ValueError("label must not be empty. Received: label=''")
        if self.version is not None and self.version < 1:
            raise ValueError(f"version must be positive. Received: version={self.version}")
        if self.version is not None and self.label is not None:
            raise ValueError(
                f"version and label exclude each other. Received: version={self.version}, label={self.label}"
            )
        if not self.timeout > 0:
            raise ValueError(f"timeout must be a positive number of seconds. Received: timeout={self.timeout}")

    @property
    def described(self) -> str:
        """For errors: the name, with the label or the version."""
        return f"name={self.name}, " + (f"version={self.version}" if self.label is None else f"label={self.label}")
