"""An Apache Kafka with a listener for each way in: TLS, client certificates, passwords, and all together."""

import contextlib
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import UserScramCredentialDeletion

from reviewpulse.embedded import free_port
from tests.brokers import DistributionBroker
from tests.certificates import Authority

USER, PASSWORD = "me", "secret-of-mine"
LEAVER = "leaver"
"""A user with the same password, by SCRAM-SHA-256 alone, whom a test may take it away from."""

LISTENERS = ("SASL_PLAINTEXT", "SASL_SSL", "SSL", "MUTUAL", "OTHER_HOST", "EXPIRING")
"""MUTUAL asks for a client certificate, OTHER_HOST shows a certificate for another host, EXPIRING wants the password
again every two seconds."""

_PROTOCOLS = {"MUTUAL": "SSL", "OTHER_HOST": "SSL", "EXPIRING": "SASL_PLAINTEXT"}
_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")


class SecureBroker(DistributionBroker):
    """One node; `address` is that of its open listener, for tests to look in by."""

    def __init__(self, home: Path, folder: Path) -> None:
        super().__init__(home, folder)
        self.authority, self.stranger = Authority(folder, "authority"), Authority(folder, "stranger")
        self.client = self.authority.sign("client")
        self.foreign_client = self.stranger.sign("foreign-client")
        self.ports = {listener: free_port() for listener in LISTENERS}
        server = self.authority.sign("server", "127.0.0.1", "localhost")
        other = self.authority.sign("other", "kafka.example.org")
        with self._properties.open("a") as properties:  # of a name that stands twice, the last one counts
            properties.writelines(f"{name}={value}\n" for name, value in self._secure(server, other).items())

    def format(self, *arguments: str) -> None:
        """Prepare the data folder with the SCRAM users."""
        users = [f"{mechanism}=[name={USER},password={PASSWORD}]" for mechanism in _SCRAM]
        users.append(f"SCRAM-SHA-256=[name={LEAVER},password={PASSWORD}]")
        super().format(*arguments, *(argument for user in users for argument in ("--add-scram", user)))

    def settings(self, listener: str, **changes: object) -> dict[str, object]:
        """Return the settings of a client that is let in by a listener, with some changed; None leaves one out."""
        protocol = _PROTOCOLS.get(listener, listener)
        settings: dict[str, object] = {
            "broker": f"127.0.0.1:{self.ports[listener]}",
            "security_protocol": protocol,
            "ssl_cafile": self.authority.certificate,
        }
        if protocol.startswith("SASL"):
            settings |= {"sasl_mechanism": "PLAIN", "sasl_username": USER, "sasl_password": PASSWORD}
        if listener == "MUTUAL":
            settings |= {"ssl_certfile": self.client[0], "ssl_keyfile": self.client[1]}
        given = {name: value for name, value in (settings | changes).items() if value is not None}
        return {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}

    def environment(self, listener: str, **changes: object) -> dict[str, str]:
        """Return the same as environment variables."""
        return {f"REVIEWPULSE_{name.upper()}": str(value) for name, value in self.settings(listener, **changes).items()}

    def forget_leaver(self) -> None:
        """Take the password of the user LEAVER away."""
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=self.address)) as admin:
            outcome = admin.alter_user_scram_credentials([UserScramCredentialDeletion(LEAVER, "SCRAM-SHA-256")])
        assert outcome == {LEAVER: None}, outcome

    def _secure(self, server: tuple[Path, Path], other: tuple[Path, Path]) -> dict[str, object]:
        controller = next(
            line.partition("@")[2]
            for line in self._properties.read_text().splitlines()
            if line.startswith("controller.quorum.voters")
        )
        named = {"PLAINTEXT": self.port, **self.ports}
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in named.items())
        protocols = ",".join(f"{name}:{_PROTOCOLS.get(name, name)}" for name in ("PLAINTEXT", *LISTENERS))
        lines: dict[str, object] = {
            "listeners": f"{listeners},CONTROLLER://{controller}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{protocols}",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.expiring.connections.max.reauth.ms": 2_000,
        }
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required"
        for listener in ("sasl_plaintext", "sasl_ssl", "expiring"):
            name = f"listener.name.{listener}"
            lines[f"{name}.sasl.enabled.mechanisms"] = ",".join(("PLAIN", *_SCRAM))
            lines[f"{name}.plain.sasl.jaas.config"] = f'{plain} user_{USER}="{PASSWORD}";'
            lines |= {f"{name}.{mechanism.lower()}.sasl.jaas.config": f"{scram};" for mechanism in _SCRAM}
        for listener, (certificate, key) in (
            ("sasl_ssl", server),
            ("ssl", server),
            ("mutual", server),
            ("other_host", other),
        ):
            name = f"listener.name.{listener}.ssl"
            lines |= {
                f"{name}.keystore.type": "PEM",
                f"{name}.keystore.certificate.chain": _one_line(certificate),
                f"{name}.keystore.key": _one_line(key),
                f"{name}.truststore.type": "PEM",
                f"{name}.truststore.certificates": _one_line(self.authority.certificate),
            }
        return lines


def _one_line(pem: Path) -> str:
    return pem.read_text().strip().replace("\n", "\\n")
