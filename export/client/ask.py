"""`python -m export ask`: an answer from a SavedModel alone, or from a server that serves one.

python -m export ask served/summaries "text"
python -m export ask served/summaries --file document.txt
python -m export ask --server localhost:8500 "text"
python -m export ask --server localhost:8501 --rest --name summaries --version 2 "text"
python -m export ask --server localhost:8500 --signature summarize --set max_new_tokens=64 \
    --set num_return_sequences=2 "text"
python -m export ask --server localhost:8500 --question "Who wrote it?" --file document.txt
python -m export ask --server models.example.com:443 --tls --token-file token --label stable "text"
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from export.client.reading import decoded_text, read_text
from export.client.saved_model_client import SavedModel, import_server_libraries
from export.client.server_client import DEFAULT_NAME, TLS, Client, GrpcClient, RestClient
from export.client.untrusted import without_commands
from export.client.verification import add_trust_arguments, trust_of
from export.client.version_folders import latest_version

_TLS = ("tls_roots", "tls_certificate", "tls_key")
_SERVER_ONLY = ("rest", "name", "version", "label", "timeout", "token_file", "tls", *_TLS)


def main(arguments: list[str]) -> int:
    """Print the answer to one document; return the exit status.

    Args:
        arguments: the command line's arguments behind `ask`.

    Raises:
        ValueError: a wrong folder, server, name, signature or input.
        OSError: no such file, or no answer from the server.
        ImportError: a library that the model or gRPC needs is not installed.
    """
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    if options.server is not None and options.text is None:
        # The first argument is then the document.
        options.directory, options.text = None, options.directory
    if options.text is not None and options.file is not None:
        parser.error("text and --file exclude each other")
    if options.server is None:
        server_only = [
            f"--{name.replace('_', '-')}" for name in _SERVER_ONLY if getattr(options, name) not in (None, False)
        ]
        if options.directory is None:
            parser.error("the following arguments are required: DIR")
        if server_only:
            parser.error(f"{server_only[0]} needs --server")
        return _ask_folder(options)
    if options.directory is not None:
        parser.error("DIR and --server exclude each other")
    return _ask_server(options)


def constant(text: str) -> tuple[str, int]:
    """A name and a whole number from "NAME=NUMBER"; an `argparse` error for anything else.

    >>> constant("max_new_tokens=64")
    ('max_new_tokens', 64)
    """
    name, _, number = text.partition("=")
    try:
        return name, int(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be NAME=NUMBER. Received: {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m export ask", description="Answer from a SavedModel, or a server of it.")
    parser.add_argument("directory", nargs="?", metavar="DIR", help="a SavedModel, or the folder of its versions")
    parser.add_argument("text", nargs="?", help="the document; without it and --file, standard input is read")
    parser.add_argument("--file", type=Path, help="a file with the document, plain or .gz")
    parser.add_argument("--signature", help="default: serving_default")
    parser.add_argument("--question", help="to a model that answers questions")
    parser.add_argument(
        "--set", type=constant, action="append", default=[], metavar="NAME=NUMBER", help="a further input"
    )
    add_trust_arguments(parser)
    server = parser.add_argument_group("a server, in place of DIR")
    server.add_argument("--server", metavar="HOST:PORT", help="of TensorFlow Serving: its gRPC port")
    server.add_argument("--rest", action="store_true", help="HOST:PORT is the REST port")
    server.add_argument("--name", help=f"of the model on the server (default: {DEFAULT_NAME}, the stock image's)")
    server.add_argument("--version", type=int, help="of the model (default: the server's choice, the highest)")
    server.add_argument("--label", help="of the version in the server's models.config, in place of --version")
    server.add_argument("--timeout", type=float, metavar="SECONDS", help="default: 60")
    server.add_argument("--token-file", type=Path, help="a bearer token, which a command line would show to others")
    server.add_argument(
        "--tls", action="store_true", help="trust the authorities that gRPC, or over REST Python, trusts"
    )
    server.add_argument("--tls-roots", type=Path, help="PEM: the authorities to trust in their place")
    server.add_argument("--tls-certificate", type=Path, help="PEM: the client's own certificate")
    server.add_argument("--tls-key", type=Path, help="PEM: its private key")
    return parser


def _ask_folder(options: argparse.Namespace) -> int:
    latest_version(options.directory)  # report a wrong folder before waiting for standard input
    document = _document(options)
    import_server_libraries()
    return _print_answer(SavedModel(options.directory, trust_of(options)), options, document)


def _ask_server(options: argparse.Namespace) -> int:
    settings: dict[str, Any] = {
        "name": DEFAULT_NAME if options.name is None else options.name,
        "version": options.version,
        "label": options.label,
        "timeout": 60.0 if options.timeout is None else options.timeout,
        "token": None if options.token_file is None else options.token_file.read_text(encoding="utf-8").strip(),
    }
    files = [getattr(options, name) for name in _TLS]
    if options.tls or any(files):
        settings["tls"] = TLS(*files)
    with _client(options, settings) as client:
        client.signatures()  # likewise for a wrong server
        return _print_answer(client, options, _document(options))


def _print_answer(client: Client | SavedModel, options: argparse.Namespace, document: str) -> int:
    for name, text in (("text", document), ("--question", options.question)):
        try:
            (text or "").encode("utf-8")
        except UnicodeEncodeError as error:  # the command line's form of bytes in another encoding
            raise ValueError(f"{name} must be UTF-8. Received: {error}") from None
    inputs: dict[str, Any] = {name: [number] for name, number in options.set}
    if options.question is not None:
        inputs["question"] = [options.question]
    answer = client(options.signature or "serving_default", **inputs, text=[document])
    texts = answer["text"] if "text" in answer else answer.get("label", answer.get("values"))
    if texts is None:
        raise ValueError(f"signature must answer with text, label or values. Received: signature={options.signature}")
    # Several answers to one document are a row.
    lines = "\n".join(map(str, np.ravel(texts[0])))
    # A program gets the answer as it is, a terminal without what would command it.
    print(without_commands(lines) if sys.stdout.isatty() else lines)
    if bool(answer["truncated"][0]):
        print("(the document was longer than the longest exported length and was cut)", file=sys.stderr)
    return 0


def _client(options: argparse.Namespace, settings: dict[str, Any]) -> Client:
    if options.rest:
        return RestClient(options.server, **settings)
    # gRPC would write to the terminal, which is meant for the answer.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import_server_libraries()
    return GrpcClient(options.server, **settings)


def _document(options: argparse.Namespace) -> str:
    if options.file is not None:
        return read_text(options.file)
    return decoded_text(sys.stdin.buffer.read(), "standard input") if options.text is None else options.text
