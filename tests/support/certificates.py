"""Certificates and keys for tests: an authority, a server and a client signed by it, and those of another authority."""

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Files:
    """A folder of PEM files, NAME.pem and NAME.key, by `write_certificates`."""

    folder: object

    def __getitem__(self, name):
        return self.folder / name


def write_certificates(folder):
    """Write the files: "server" is for localhost, "elsewhere" for another host, "stranger" is signed by "other"."""
    authority, other = _certificate("authority"), _certificate("other")
    signed = {
        "authority": authority,
        "other": other,
        "server": _certificate("server", authority),
        "elsewhere": _certificate("elsewhere", authority, host="example.com"),
        "client": _certificate("client", authority),
        "stranger": _certificate("stranger", other),
    }
    for name, (certificate, key) in signed.items():
        (folder / f"{name}.pem").write_bytes(_pem(certificate))
        (folder / f"{name}.key").write_bytes(_pem(key))
    return Files(folder)


def _pem(value):
    if hasattr(value, "private_bytes"):
        return value.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return value.public_bytes(serialization.Encoding.PEM)


def _certificate(name, issuer=None, host="localhost"):
    """A certificate and its key; without an issuer that of an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
    )
    if issuer is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return builder.sign(key if issuer is None else issuer[1], hashes.SHA256()), key
