"""Both brokers, each started once; each test gets topics and a consumer group of its own."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from reviewpulse.embedded import EmbeddedBroker
from reviewpulse.settings import KafkaSettings
from tests.brokers import apache_kafka, fresh_topics
from tests.integration.browsers import ARGUMENTS, CHROMIUM


@pytest.fixture(scope="session")
def embedded_address() -> Iterator[str]:
    """Return the address of a running embedded broker."""
    with EmbeddedBroker() as broker:
        yield broker.address


@pytest.fixture(scope="session")
def apache_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running Apache Kafka, or skip with the reason why there is none."""
    with apache_kafka(tmp_path_factory.mktemp("kafka")) as address:
        yield address


@pytest.fixture(params=["embedded", "apache"])
def kafka(request: pytest.FixtureRequest) -> KafkaSettings:
    """Return settings for a running broker, with topics that no other test uses."""
    return fresh_topics(request.getfixturevalue(f"{request.param}_address"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a running chromium; not for the session: while it runs, its thread can run no event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
