import asyncio
from collections.abc import Mapping, Sequence

import faust
import pytest

from reviewpulse.settings import KafkaSettings, WorkerSettings, load
from stream_app.app import ScoringApp
from stream_app.batch import Message

SECRETS = {"sasl_username": "me", "sasl_password": "hush"}


async def resume() -> Mapping[int, int]:
    return {}


async def process(_messages: Sequence[Message]) -> None:
    return None


def fail(error: Exception) -> None:
    raise error


async def settle(_member_id: str) -> None:
    return None


def app(**settings: object) -> ScoringApp:
    async def make() -> ScoringApp:
        return ScoringApp(
            load(KafkaSettings, **settings),
            WorkerSettings(),
            resume=resume,
            process=process,
            settle=settle,
            on_failure=fail,
        )

    return asyncio.run(make())


def test_without_security_there_are_no_credentials() -> None:
    assert app().conf.broker_credentials is None


@pytest.mark.parametrize(("protocol", "has_tls"), [("SASL_PLAINTEXT", False), ("SASL_SSL", True)])
def test_sasl_settings_reach_faust(protocol: str, has_tls: bool) -> None:
    credentials = app(security_protocol=protocol, sasl_mechanism="SCRAM-SHA-256", **SECRETS).conf.broker_credentials

    assert isinstance(credentials, faust.SASLCredentials)
    assert credentials.mechanism is not None
    assert credentials.mechanism.value == "SCRAM-SHA-256"
    assert (credentials.username, credentials.password) == ("me", "hush")
    assert credentials.protocol.value == protocol
    assert (credentials.ssl_context is not None) is has_tls


def test_tls_settings_reach_faust() -> None:
    credentials = app(security_protocol="SSL").conf.broker_credentials

    assert isinstance(credentials, faust.SSLCredentials)
    assert credentials.context.check_hostname


def test_every_address_reaches_faust() -> None:
    urls = app(broker="127.0.0.1:1, 127.0.0.1:2").conf.broker

    assert [(url.host, url.port) for url in urls] == [("127.0.0.1", 1), ("127.0.0.1", 2)]


def test_faust_serves_no_web_page_and_makes_no_topics_of_its_own() -> None:
    conf = app().conf

    assert not conf.web_enabled
    assert conf.topic_disable_leader
