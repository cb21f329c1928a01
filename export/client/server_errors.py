"""What a server's status codes mean to who asked; needs the standard library alone."""

from export.client.served_model import ServedModel

# Beside gRPC's own codes: the connection's two ends do not trust each other.
UNTRUSTED = "UNTRUSTED"
# By the proxy's or the server's HTTP status.
HTTP_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_REQUEST_AT_FAULT = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE")
_NOT_ALLOWED = ("UNAUTHENTICATED", "PERMISSION_DENIED")
# What a batching queue says of requests whose deadline has passed; other resources may be exhausted as well.
_WAITED_TOO_LONG = "timeout exceeded while waiting in batching queue"
# A proxy's words for a request beyond its limit, for which gRPC has no code.
_TOO_LARGE = "payload too large"
# All that either end hears of a handshake that the other gave up.
_CLOSED = ("Socket closed", "Connection reset")


class Failure(Exception):
    """A request without an answer.

    Args:
        code: gRPC's name of the status code.
        message: what the server or the connection says.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message.strip()


def error_of(failure: Failure, model: ServedModel, sent: str) -> Exception:
    """The error to raise.

    Args:
        failure: of a request.
        model: that was asked.
        sent: the request, described.
    """
    code, message, server = failure.code, failure.message, f"server={model.server}"
    if code == "DEADLINE_EXCEEDED":
        return TimeoutError(f"no answer from {server} within timeout={model.timeout:g} seconds")
    if code == "RESOURCE_EXHAUSTED" and _WAITED_TOO_LONG in message:
        return TimeoutError(f"{server} did not come to the request in time: {message}")
    if code == "NOT_FOUND":
        rule = "name and version must be those of a served model"
        return ValueError(f"{rule}. Received: {model.described} ({message})")
    message = message or "it gave no reason"
    if code in _REQUEST_AT_FAULT or (code == "UNKNOWN" and message.lower() == _TOO_LARGE):
        # The server often names an op of the graph instead of an input, and the op's place in later lines.
        return ValueError(f"the server refused the request: {message.splitlines()[0]}. Received: {sent}")
    if code in _NOT_ALLOWED:
        return PermissionError(f"token must be one that {server} takes. It said {code}: {message}")
    if code == UNTRUSTED:
        rule = "tls must have the roots of the server's certificate, and the server a certificate for its name"
        return ConnectionError(f"{rule}. Received: {server} ({message})")
    if code == "CANCELLED":
        return ConnectionError(f"{server} cancelled the request with a batch: {message}")
    if code == "UNAVAILABLE":
        hint = "; it may want TLS, or a client's certificate" if message.rstrip("()").endswith(_CLOSED) else ""
        return ConnectionError(f"server must be there and take requests. Received: {server} ({message}{hint})")
    return ConnectionError(f"the server failed with {code}: {message}. Received: {sent}")
