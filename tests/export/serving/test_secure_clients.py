"""Tokens and TLS: what is trusted answers, what is not is refused by name, and no token shows."""

import asyncio
import dataclasses

import pytest
from prediction_server import TOKEN

from export.__main__ import main
from export.client.async_client import AsyncGrpcClient
from export.client.server_client import TLS, GrpcClient, RestClient

CLIENTS = {"grpc": GrpcClient, "rest": RestClient}


@pytest.fixture(params=CLIENTS)
def ask(toy_server, request):
    """Asks one pair of ports of the server."""

    def ask(name, **settings):
        with CLIENTS[request.param](toy_server.at(f"{request.param}-{name}"), **settings) as client:
            return client("classify", text=["a"])["label"].tolist()

    return ask


@pytest.fixture
def tls(certificates):
    return TLS(certificates["authority.pem"])


def test_a_token_is_asked_for_before_each_request(ask, toy_server, tls):
    given = []

    def token():
        given.append(TOKEN)
        return given[-1]

    assert ask("tls", token=TOKEN, tls=tls) == ["short"]
    # The signatures and the answer.
    assert ask("tls", token=token, tls=tls) == ["short"]
    assert len(given) == 2

    async def under_asyncio():
        async def fetched():
            return token()

        async with AsyncGrpcClient(toy_server.at("grpc-tls"), token=fetched, tls=tls) as client:
            return (await client("classify", text=["a"]))["label"].tolist()

    assert asyncio.run(under_asyncio()) == ["short"]


def test_a_token_that_is_refused_or_missing_is_a_permission_error_without_it(ask, toy_server, tls):
    with pytest.raises(PermissionError, match="token must be one that server=.* takes. It said UNAUTHENTICATED"):
        ask("tls", tls=tls)
    with pytest.raises(PermissionError, match="wrong authorization: Bearer <token>") as error:
        ask("tls", tls=tls, token="another-secret")
    assert "another-secret" not in str(error.value)
    with pytest.raises(ValueError, match=r"Received: 9 characters of others") as error:
        ask("tls", tls=tls, token="se cret\r\n")
    assert "cret" not in str(error.value)
    for kind, client_kind in CLIENTS.items():
        client = client_kind(toy_server.at(f"{kind}-tls"), token="another-secret", tls=tls)
        # What a debugger's view of all parts would show.
        parts = [client, *vars(client).values(), *(vars(part) for part in vars(client).values())]
        assert "another-secret" not in repr(parts)
        client.close()


def test_a_server_that_cannot_be_trusted_is_told_and_not_asked_again(ask, certificates, tls):
    with pytest.raises(ConnectionError, match="tls must have the roots of the server's certificate.*(VERIFY|verify)"):
        ask("tls", token=TOKEN, tls=TLS(certificates["other.pem"]))
    with pytest.raises(ConnectionError, match="and the server a certificate for its name.*(Hostname|hostname)"):
        ask("elsewhere", token=TOKEN, tls=tls)
    with pytest.raises(ConnectionError, match="roots"):
        ask("tls", token=TOKEN, tls=TLS())


def test_a_server_may_demand_a_clients_certificate(ask, certificates, tls):
    mine = dataclasses.replace(tls, certificate=certificates["client.pem"], key=certificates["client.key"])
    assert ask("mutual", tls=mine) == ["short"]
    strangers = dataclasses.replace(tls, certificate=certificates["stranger.pem"], key=certificates["stranger.key"])
    for wrong in (tls, strangers):
        with pytest.raises(ConnectionError, match="certificate"):
            ask("mutual", tls=wrong, timeout=10)


def test_a_plain_client_of_a_server_behind_tls_is_told(ask):
    with pytest.raises(ConnectionError, match="it may want TLS|must be there"):
        ask("tls", timeout=10)


def test_files_that_hold_something_else_are_errors_that_name_them(certificates, tmp_path):
    (tmp_path / "text").write_text("text")
    with pytest.raises(ValueError, match="tls.roots must be certificates in PEM. Received: .*text"):
        TLS(tmp_path / "text")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        TLS(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="tls.certificate and tls.key must be a certificate in PEM and its key"):
        TLS(certificate=certificates["client.pem"], key=certificates["server.key"])
    with pytest.raises(ValueError, match="must not begin with http:// under tls"):
        RestClient("http://localhost:1", tls=TLS(certificates["authority.pem"]))
    with pytest.raises(ValueError, match="tls and credentials exclude each other"):
        GrpcClient("localhost:1", credentials=object(), tls=TLS(certificates["authority.pem"]))


def test_the_program_takes_a_token_and_certificates(toy_server, certificates, tmp_path, capsys):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    secure = ("--rest", "--tls-roots", str(certificates["authority.pem"]), "--token-file", str(tmp_path / "token"))
    arguments = ("--server", toy_server.at("rest-tls"), "--signature", "classify", "--label", "stable", "text")
    assert main(["ask", *secure, *arguments]) == 0
    assert capsys.readouterr().out == "long\n"
    (tmp_path / "token").write_text("another-secret")
    assert main(["ask", *secure, *arguments]) == 2
    told = capsys.readouterr().err
    assert "token must be one that server=" in told
    assert "another-secret" not in told
