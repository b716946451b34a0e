"""Whether Kafka lets this client in, and if not, why: kafka-python itself only says that it cannot connect."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, Final

from kafka.errors import IllegalSaslStateError, KafkaError, NoError, UnsupportedSaslMechanismError, for_code
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.metadata import ApiVersionsRequest, MetadataRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from reviewpulse.errors import BrokerError, RefusedError, SettingsError
from reviewpulse.settings import KafkaSettings

_ANSWER_SECONDS: Final = 5.0
"""How long one answer may take before it is left to the client to say that none comes."""

_ATTEMPTS: Final = 3
"""A line cut where a password may be wanted may be a broker that is stopping: cut again and again, it is wanted."""

_PAUSE_SECONDS: Final = 0.3
_TLS_ALERT: Final = b"\x15\x03"
_HOST_MISMATCH: Final = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH
_OUT_OF_DATE: Final = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Return the TLS context of the settings; raises BrokerError when a certificate file cannot be read."""
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile)
        if kafka.ssl_certfile:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile)
    except OSError as exc:
        raise BrokerError(
            f"cannot read a certificate file ({exc}); see REVIEWPULSE_SSL_CAFILE, _CERTFILE, _KEYFILE"
        ) from exc
    return context


def check_login(kafka: KafkaSettings) -> None:
    """Raise SettingsError when a user name or a password is needed and missing."""
    if kafka.security_protocol.startswith("SASL") and not (kafka.sasl_username and kafka.sasl_password):
        raise SettingsError(
            f"REVIEWPULSE_SECURITY_PROTOCOL is {kafka.security_protocol}, which needs "
            "REVIEWPULSE_SASL_USERNAME and REVIEWPULSE_SASL_PASSWORD"
        )


def check_entrance(kafka: KafkaSettings, address: str) -> None:
    """Go in by an address as a client would, and out again.

    Raises RefusedError, which names what was refused and the cure. When there is no answer, it returns: the
    client that comes next has the patience.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _go_in(kafka, address)
        except _CutError as cut:
            if attempt == _ATTEMPTS:
                raise RefusedError(str(cut)) from cut
            time.sleep(_PAUSE_SECONDS)
        except (OSError, KafkaError):
            return
        else:
            return


class _CutError(Exception):
    """Kafka cut the line where it does so to those who gave no password."""


class _Line:
    """A connection on which requests and answers take turns."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._protocol = KafkaProtocol(client_id="reviewpulse")
        self.first_bytes = b""

    def ask(self, request: Any) -> Any:  # noqa: ANN401  # kafka-python has no types
        """Return the answer to a request of kafka-python's; raises ConnectionError when the line is cut."""
        self._protocol.send_request(request)
        self._connection.sendall(self._protocol.send_bytes())
        while True:
            data = self._connection.recv(65_536)
            self.first_bytes = self.first_bytes or data[:2]
            if not data:
                raise ConnectionResetError("the line was cut")
            for _, answer in self._protocol.receive_bytes(data):
                return answer


def _go_in(kafka: KafkaSettings, address: str) -> None:
    host, port = _host_and_port(address)
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection((host, port), timeout=_ANSWER_SECONDS))
        is_tls = kafka.security_protocol.endswith("SSL")
        with _named_tls_errors(kafka, address):
            connection = stack.enter_context(_in_tls(kafka, address, plain, host)) if is_tls else plain
            line = _Line(connection)
            _ask_for_versions(kafka, address, line)
        if kafka.security_protocol.startswith("SASL"):
            _log_in(kafka, address, line, host)
        _ask_for_topics(kafka, address, line)


def _in_tls(kafka: KafkaSettings, address: str, plain: socket.socket, host: str) -> ssl.SSLSocket:
    try:
        return ssl_context(kafka).wrap_socket(plain, server_hostname=host)
    except (ssl.SSLEOFError, ConnectionError) as exc:
        if _speaks_plain_text(address):
            raise RefusedError(_no_tls(kafka, address)) from exc
        raise ConnectionResetError("the line was cut") from exc


def _speaks_plain_text(address: str) -> bool:
    """Return whether a Kafka answers plain text: one that is only just starting or stopping answers nothing."""
    try:
        with socket.create_connection(_host_and_port(address), timeout=_ANSWER_SECONDS) as plain:
            _Line(plain).ask(ApiVersionsRequest(version=0))
    except (OSError, KafkaError):
        return False
    return True


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def _named_tls_errors(kafka: KafkaSettings, address: str) -> Iterator[None]:
    """Raise what TLS has against us, or we against the certificate, as RefusedError.

    With TLS 1.3 a client certificate is refused only after the handshake, in place of the first answer.
    """
    try:
        yield
    except ssl.SSLCertVerificationError as exc:
        raise RefusedError(_bad_certificate(kafka, address, exc)) from exc
    except ssl.SSLError as exc:
        reason = exc.reason or ""
        if "ALERT" in reason and any(sign in reason for sign in ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE", "DENIED")):
            raise RefusedError(_client_certificate(kafka, address, reason)) from exc
        if "ALERT" in reason or "VERSION" in reason or "UNSUPPORTED" in reason or "RECORD" in reason:
            raise RefusedError(f"{_no_tls(kafka, address)} ({reason.lower().replace('_', ' ')})") from exc
        raise


def _bad_certificate(kafka: KafkaSettings, address: str, error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message.rstrip(".")
    if error.verify_code in _HOST_MISMATCH:
        cure = "set REVIEWPULSE_BROKER to a name that stands in the certificate"
        return f"the certificate of Kafka at {address} is for another host ({said}); {cure}"
    if error.verify_code in _OUT_OF_DATE:
        return f"the certificate of Kafka at {address} is out of date ({said}); renew it, or set this machine's clock"
    trusted = (
        f"not signed by {kafka.ssl_cafile}" if kafka.ssl_cafile else "not signed by an authority this system knows"
    )
    return (
        f"the certificate of Kafka at {address} is not trusted: it is {trusted} ({said}); "
        "set REVIEWPULSE_SSL_CAFILE to the certificate file (PEM) of the authority that signed it"
    )


def _client_certificate(kafka: KafkaSettings, address: str, reason: str) -> str:
    if kafka.ssl_certfile is None:
        return (
            f"Kafka at {address} asks for a client certificate; "
            "set REVIEWPULSE_SSL_CERTFILE and REVIEWPULSE_SSL_KEYFILE to one that it trusts"
        )
    said = reason.lower().replace("_", " ")
    return (
        f"Kafka at {address} refused the client certificate {kafka.ssl_certfile} ({said}); "
        "set REVIEWPULSE_SSL_CERTFILE and REVIEWPULSE_SSL_KEYFILE to one that it trusts"
    )


def _no_tls(kafka: KafkaSettings, address: str) -> str:
    without = "SASL_PLAINTEXT" if kafka.security_protocol == "SASL_SSL" else "PLAINTEXT"
    return (
        f"Kafka at {address} does not speak TLS there; "
        f"set REVIEWPULSE_SECURITY_PROTOCOL to {without}, or REVIEWPULSE_BROKER to its port for TLS"
    )


def _ask_for_versions(kafka: KafkaSettings, address: str, line: _Line) -> None:
    """Ask what everyone may ask; cut off here, plain text was spoken where TLS is."""
    try:
        line.ask(ApiVersionsRequest(version=0))
    except (ConnectionError, KafkaError) as exc:
        if line.first_bytes != _TLS_ALERT:
            raise
        secure = "SASL_SSL" if kafka.security_protocol.startswith("SASL") else "SSL"
        raise RefusedError(
            f"Kafka at {address} speaks TLS there, and plain text came; "
            f"set REVIEWPULSE_SECURITY_PROTOCOL to {secure}, or REVIEWPULSE_BROKER to its port for plain text"
        ) from exc


def _log_in(kafka: KafkaSettings, address: str, line: _Line, host: str) -> None:
    answer = line.ask(SaslHandshakeRequest(version=1, mechanism=kafka.sasl_mechanism))
    error = for_code(answer.error_code)
    if error is UnsupportedSaslMechanismError:
        offered = ", ".join(answer.mechanisms)
        raise RefusedError(
            f"Kafka at {address} takes no {kafka.sasl_mechanism}; set REVIEWPULSE_SASL_MECHANISM to one of: {offered}"
        )
    if error is IllegalSaslStateError:
        without = "SSL" if kafka.security_protocol == "SASL_SSL" else "PLAINTEXT"
        raise RefusedError(
            f"Kafka at {address} asks for no password there; set REVIEWPULSE_SECURITY_PROTOCOL to {without}"
        )
    password = kafka.sasl_password.get_secret_value() if kafka.sasl_password else ""
    mechanism = get_sasl_mechanism(kafka.sasl_mechanism)(
        host=host,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_plain_username=kafka.sasl_username,
        sasl_plain_password=password,
    )
    while not mechanism.is_done():
        answer = line.ask(SaslAuthenticateRequest(mechanism.auth_bytes(), version=1))
        if for_code(answer.error_code) is not NoError:
            raise RefusedError(
                f"Kafka at {address} does not know the user {kafka.sasl_username}, or refused the password "
                f"({kafka.sasl_mechanism}); set REVIEWPULSE_SASL_USERNAME and REVIEWPULSE_SASL_PASSWORD"
            )
        mechanism.receive(answer.auth_bytes)


def _ask_for_topics(kafka: KafkaSettings, address: str, line: _Line) -> None:
    """Ask what only those may ask who are in; cut off here, a password is wanted."""
    try:
        line.ask(MetadataRequest(version=1, topics=[]))
    except ConnectionError as exc:
        secure = "SASL_SSL" if kafka.security_protocol.endswith("SSL") else "SASL_PLAINTEXT"
        raise _CutError(
            f"Kafka at {address} wants a user name and a password; set REVIEWPULSE_SECURITY_PROTOCOL to {secure}, "
            "REVIEWPULSE_SASL_MECHANISM, REVIEWPULSE_SASL_USERNAME and REVIEWPULSE_SASL_PASSWORD"
        ) from exc
