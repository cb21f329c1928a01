"""Two pairs of keys to sign exports with."""

import pytest


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """The folder of key.pem and key.pub, and of somebody else's other.pem and other.pub."""
    pytest.importorskip("model_signing", reason="the extra sign is not installed")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder, pem = tmp_path_factory.mktemp("keys"), serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    for name in ("key", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        (folder / f"{name}.pem").write_bytes(key.private_bytes(pem, *private))
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    return folder
