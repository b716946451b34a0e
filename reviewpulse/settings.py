"""One frozen settings class per room; each field is read from REVIEWPULSE_<NAME> when the class is made.

An empty variable counts as not set, but an empty token is refused.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from reviewpulse.errors import SettingsError
from reviewpulse.records import LEAST_TEXT_LIMIT, LONGEST_TEXT, TextLimit

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
TooLong = Literal["cut", "reject"]
Device = Literal["auto", "cpu", "cuda"]

_TOPIC: Final = re.compile("[A-Za-z0-9._-]{1,249}")
"""What Kafka takes for a topic's name, but for '.' and '..'."""


class RoomSettings(BaseSettings):
    """What the settings classes have in common."""

    model_config = SettingsConfigDict(env_prefix="REVIEWPULSE_", frozen=True, extra="forbid", env_ignore_empty=True)


class KafkaSettings(RoomSettings):
    """Which Kafka, how to get in, and what the topics are called: the same for every client."""

    broker: Annotated[str, Field(description="Kafka's address, or several separated by commas")] = "127.0.0.1:9092"
    security_protocol: Annotated[SecurityProtocol, Field(description="how to talk to Kafka")] = "PLAINTEXT"
    sasl_mechanism: Annotated[SaslMechanism, Field(description="for the SASL protocols")] = "PLAIN"
    sasl_username: Annotated[str | None, Field(description="for the SASL protocols")] = None
    sasl_password: Annotated[SecretStr | None, Field(description="for the SASL protocols; never shown")] = None
    ssl_cafile: Annotated[str | None, Field(description="CA certificate file (PEM) to trust")] = None
    ssl_certfile: Annotated[str | None, Field(description="client certificate file (PEM)")] = None
    ssl_keyfile: Annotated[str | None, Field(description="client key file (PEM)")] = None
    reviews_topic: Annotated[str, Field(description="topic that reviews are read from")] = "reviews"
    predictions_topic: Annotated[str, Field(description="topic that predictions go to")] = "predictions"
    rejected_topic: Annotated[str, Field(description="topic that malformed records go to")] = "reviews.rejected"
    partitions: Annotated[int, Field(ge=1, description="partitions of a topic that has to be created")] = 4
    replication_factor: Annotated[int, Field(ge=1, description="copies of a topic that has to be created")] = 1
    connect_seconds: Annotated[float, Field(gt=0, description="how long to try to reach Kafka")] = 10.0

    @field_validator("broker")
    @classmethod
    def _is_addresses(cls, broker: str) -> str:
        for address in broker.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdecimal() or int(port) > 65535:
                raise ValueError(f"'{address}' is no address; write host:port, for example 127.0.0.1:9092")
        return broker

    @field_validator("reviews_topic", "predictions_topic", "rejected_topic")
    @classmethod
    def _is_topic(cls, topic: str) -> str:
        if topic in (".", "..") or not _TOPIC.fullmatch(topic):
            raise ValueError(f"{topic!r} is no name of a topic; write 1 to 249 letters, digits, '.', '_' or '-'")
        return topic

    @model_validator(mode="after")
    def _has_three_topics(self) -> Self:
        if len(set(self.topics)) < 3:  # a worker that reads what it writes never comes to an end
            raise ValueError(
                "REVIEWPULSE_REVIEWS_TOPIC, REVIEWPULSE_PREDICTIONS_TOPIC and REVIEWPULSE_REJECTED_TOPIC "
                f"must be three different topics, not {', '.join(self.topics)}"
            )
        return self

    @property
    def addresses(self) -> list[str]:
        """Kafka's addresses one by one."""
        return [address.strip() for address in self.broker.split(",")]

    @property
    def topics(self) -> tuple[str, str, str]:
        """The three topics: reviews, predictions, rejected."""
        return self.reviews_topic, self.predictions_topic, self.rejected_topic


class StoreSettings(RoomSettings):
    """Where the predictions are kept."""

    store: Annotated[
        str, Field(repr=False, description="SQLAlchemy URL of the store: SQLite, or PostgreSQL by psycopg")
    ] = "sqlite:///reviewpulse.db"
    keep_days: Annotated[
        float,
        Field(ge=0, le=36_500, description="age at which workers prune rows, not roll-ups; 0 keeps them for ever"),
    ] = 0.0


class RegistrySettings(RoomSettings):
    """Where checkpoint versions are kept."""

    models: Annotated[str, Field(description="folder of the checkpoint versions and of the champion's name")] = "models"


class ProducerSettings(RoomSettings):
    """How `reviewpulse publish` sends."""

    delivery_seconds: Annotated[float, Field(gt=0, description="how long a review may take to be delivered")] = 60.0
    rejects_file: Annotated[str, Field(description="for rows that are no review; -2, -3 ... if it exists")] = (
        "rejects.jsonl"
    )


class WorkerSettings(RoomSettings):
    """How `reviewpulse work` batches and scores."""

    group: Annotated[str, Field(description="consumer group of the workers")] = "reviewpulse"
    checkpoint: Annotated[
        str, Field(description="checkpoint folder, `champion`, or a bundled one: `default`, `fast`")
    ] = "default"
    device: Annotated[Device, Field(description="where the model runs; auto takes a GPU if there is one")] = "auto"
    batch_reviews: Annotated[int, Field(ge=1, description="most reviews in a micro-batch")] = 256
    batch_seconds: Annotated[float, Field(gt=0, description="longest wait for a micro-batch to fill")] = 0.1
    session_seconds: Annotated[float, Field(gt=0, description="silence after which the group drops a worker")] = 6.0
    retry_seconds: Annotated[
        float, Field(ge=0, description="how long an outage is retried before the worker stops")
    ] = 60.0
    longest_text: Annotated[
        int, Field(ge=LEAST_TEXT_LIMIT, description="most characters of a review's text, or title")
    ] = LONGEST_TEXT
    too_long: Annotated[TooLong, Field(description="what becomes of a text that is longer")] = "cut"
    threads: Annotated[int, Field(ge=0, description="CPU threads of one worker's model; 0 shares out the cores")] = 0
    stall_seconds: Annotated[
        float, Field(ge=0, description="standstill with reviews waiting after which a worker ends itself; 0: never")
    ] = 120.0
    instance: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9._-]{1,200}$",
            description="name that a worker keeps over restarts, no two alike in a group; its partitions wait for it",
        ),
    ] = None
    health_host: Annotated[str, Field(min_length=1, description="address that a worker tells its health on")] = (
        "127.0.0.1"
    )
    health_port: Annotated[
        int, Field(ge=0, le=65535, description="port that a worker tells its health on, the second the next; 0: none")
    ] = 0

    @property
    def text_limit(self) -> TextLimit:
        """What becomes of texts that are too long."""
        return TextLimit(self.longest_text, is_cut=self.too_long == "cut")


class AccessSettings(RoomSettings):
    """Who may ask our HTTP servers."""

    # Whoever sets a token wants closed servers: one that came out empty must not open them.
    model_config = SettingsConfigDict(env_ignore_empty=False)

    token: Annotated[
        SecretStr | None, Field(description="what HTTP clients must know, 16 characters or more; never shown")
    ] = None

    @field_validator("token")
    @classmethod
    def _is_hard_to_guess(cls, token: SecretStr | None) -> SecretStr | None:
        if token is None:
            return None
        secret = token.get_secret_value()
        if not secret:
            raise ValueError("it is empty; write 16 or more characters, or leave it unset to let everyone in")
        if secret != secret.strip():
            raise ValueError("it begins or ends with a blank, which headers and the login lose; take it away")
        if len(secret) < 16 or not secret.isascii() or not secret.isprintable():
            raise ValueError("write 16 or more ASCII characters, for example those of 'openssl rand -hex 16'")
        return token


class DashboardSettings(RoomSettings):
    """What `reviewpulse dashboard` shows, where it listens, and how much it takes."""

    host: Annotated[str, Field(min_length=1, description="address to listen on; loopback unless you say otherwise")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535, description="port to listen on; 0 takes a free one")] = 8050
    window_minutes: Annotated[float, Field(gt=0, le=1440, description="length of the rolling window")] = 15.0
    refresh_seconds: Annotated[float, Field(gt=0, description="how often the page asks for news")] = 1.0
    login_hours: Annotated[float, Field(gt=0, description="how long a browser stays logged in")] = 12.0
    most_body_bytes: Annotated[int, Field(ge=1024, description="largest body of a request to the dashboard")] = 65_536
    trusted_proxies: Annotated[
        str | None,
        Field(
            description="addresses or networks of proxies, by commas, whose X-Forwarded headers the dashboard believes"
        ),
    ] = None

    @field_validator("trusted_proxies")
    @classmethod
    def _is_networks(cls, proxies: str | None) -> str | None:
        for proxy in proxies.split(",") if proxies else []:
            try:
                ip_network(proxy.strip())
            except ValueError as exc:
                raise ValueError(f"'{proxy}' is no address; write one such as 127.0.0.1, or 10.1.0.0/16") from exc
        return proxies


ROOMS: tuple[type[RoomSettings], ...] = (
    KafkaSettings,
    StoreSettings,
    RegistrySettings,
    ProducerSettings,
    WorkerSettings,
    AccessSettings,
    DashboardSettings,
)


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Return the names of the environment that begin like a setting and are none."""
    known = {f"REVIEWPULSE_{name.upper()}" for room in ROOMS for name in room.model_fields}
    return sorted(name for name in environment if name.startswith("REVIEWPULSE_") and name not in known)


S = TypeVar("S", bound=RoomSettings)


def load(room: type[S], **overrides: object) -> S:
    """Return a room's settings from the environment, with overrides that are not None on top.

    Raises SettingsError naming each unusable variable.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return room(**given)
    except ValidationError as exc:
        faults = (_fault_line(fault["loc"], fault["msg"]) for fault in exc.errors(include_input=False))
        raise SettingsError("; ".join(faults)) from exc


def _fault_line(place: tuple[int | str, ...], message: str) -> str:
    """Return what is wrong with a variable, or, without a place, with several, which the message names.

    >>> _fault_line(("port",), "Input should be less than 65536")
    'REVIEWPULSE_PORT: Input should be less than 65536'
    >>> _fault_line((), "Value error, REVIEWPULSE_A and REVIEWPULSE_B are alike")
    'REVIEWPULSE_A and REVIEWPULSE_B are alike'
    """
    if not place:
        return message.removeprefix("Value error, ")
    return f"REVIEWPULSE_{'_'.join(map(str, place)).upper()}: {message}"
