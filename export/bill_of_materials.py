"""The bill of materials of an export: CycloneDX 1.6, in JSON, with its model card."""

import re
import uuid
from importlib.metadata import version
from typing import Any

from export.manifest import Manifest

FILE_NAME = "model.cdx.json"

# The form of an SPDX identifier; anything else is a licence's name.
_SPDX = re.compile(r"[A-Za-z0-9]+([.+-][A-Za-z0-9]+)*\+?")


def bill_of_materials(manifest: Manifest, name: str) -> dict[str, Any]:
    """The bill in JSON's types, the same for the same files.

    Args:
        manifest: the version's manifest, with the hashes of the files that the bill lists.
        name: the model's name on a server.
    """
    reference = f"{name}@{manifest.version}"
    model = {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": name,
        "version": str(manifest.version),
        "hashes": _hashes(manifest.files["saved_model.pb"]),
        **_licenses(manifest.license),
        "modelCard": _card(manifest),
    }
    files = [
        {"type": "file", "bom-ref": f"{reference}/{path}", "name": path, "hashes": _hashes(digest)}
        for path, digest in sorted(manifest.files.items())
    ]
    libraries = {**manifest.versions, "tfmodels": version("tfmodels")}
    written_by = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{library}@{release}",
            "name": library,
            "version": release,
            "purl": f"pkg:pypi/{library}@{release}",
        }
        for library, release in sorted(libraries.items())
    ]
    serial = uuid.uuid5(uuid.NAMESPACE_OID, repr([reference, sorted(manifest.files.items())]))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"tools": {"components": written_by}, "component": model},
        "components": files,
        "dependencies": [{"ref": reference, "dependsOn": [file["bom-ref"] for file in files]}],
    }


def _card(manifest: Manifest) -> dict[str, Any]:
    described = manifest.signatures["serving_default"]
    numbers = {
        "lengths": ",".join(map(str, manifest.lengths)),
        "weights.bytes": str(manifest.weights["bytes"]),
        "weights.dtype": manifest.weights["dtype"] or "as trained",
    }
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": manifest.task,
            "architectureFamily": manifest.architecture,
            "modelArchitecture": manifest.model,
            "inputs": [{"format": f"{key}: {kind}"} for key, kind in described["inputs"].items()],
            "outputs": [{"format": f"{key}: {kind}"} for key, kind in described["outputs"].items()],
        },
        "considerations": {"technicalLimitations": [f"Texts beyond {max(manifest.lengths)} tokens are cut."]},
        "properties": [{"name": f"tfmodels:{key}", "value": value} for key, value in numbers.items()],
    }


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _licenses(license: str | None) -> dict[str, Any]:
    if license is None:
        return {}
    if _SPDX.fullmatch(license):
        return {"licenses": [{"expression": license}]}
    return {"licenses": [{"license": {"name": license}}]}
