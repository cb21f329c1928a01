"""Certificates for a server behind TLS; needs the standard library alone."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

_Path = str | os.PathLike[str] | None


@dataclass(frozen=True)
class TLS:
    """Certificates, in PEM files, alike over gRPC and REST.

    Attributes:
        roots: certificates of the authorities that may sign the server's; None: those that gRPC or Python trust.
        certificate: the client's own chain, for a server that demands one.
        key: the client's private key, without a password.

    Raises:
        ValueError: a certificate without a key or a key without one, or a file that holds something else.
        OSError: a file that cannot be read.

    >>> TLS(certificate="client.pem")
    Traceback (most recent call last):
    ValueError: tls.certificate and tls.key must be given together. Received: certificate=client.pem, key=None
    """

    roots: _Path = None
    certificate: _Path = None
    key: _Path = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError(
                "tls.certificate and tls.key must be given together. "
                f"Received: certificate={self.certificate}, key={self.key}"
            )
        # gRPC tells of a wrong file by a failed connection alone.
        self.context()

    def context(self) -> ssl.SSLContext:
        """The certificates for Python's own connections."""
        # Reading names the missing file, which `ssl` does not.
        roots, _, _ = self.contents()
        try:
            context = ssl.create_default_context(cadata=None if roots is None else roots.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(f"tls.roots must be certificates in PEM. Received: {self.roots} ({error})") from None
        if self.certificate is not None and self.key is not None:
            try:
                # Without a password here OpenSSL would ask the terminal for that of an encrypted key.
                context.load_cert_chain(self.certificate, self.key, password="")
            except ssl.SSLError as error:
                raise ValueError(
                    "tls.certificate and tls.key must be a certificate in PEM and its key without a password. "
                    f"Received: {self.certificate}, {self.key} ({error})"
                ) from None
        return context

    def contents(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """What the files hold: roots, certificate, key."""
        roots, certificate, key = (
            None if path is None else Path(path).read_bytes() for path in (self.roots, self.certificate, self.key)
        )
        return roots, certificate, key
