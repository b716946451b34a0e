import pytest

from reviewpulse.errors import SettingsError
from reviewpulse.settings import ROOMS, AccessSettings, DashboardSettings, KafkaSettings, WorkerSettings, load


def test_a_setting_comes_from_the_environment_and_an_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIEWPULSE_PORT", "9999")

    assert load(DashboardSettings).port == 9999
    assert load(DashboardSettings, port=None).port == 9999
    assert load(DashboardSettings, port=7).port == 7


def test_an_unusable_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIEWPULSE_PORT", "many")

    with pytest.raises(SettingsError, match="REVIEWPULSE_PORT"):
        load(DashboardSettings)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for room in ROOMS for name in room.model_fields if name != "token"]
    defaults = [load(room) for room in ROOMS]
    for name in names:
        monkeypatch.setenv(f"REVIEWPULSE_{name.upper()}", "")

    assert [load(room) for room in ROOMS] == defaults


def test_an_empty_token_is_refused_because_whoever_sets_one_wants_closed_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REVIEWPULSE_TOKEN", "")

    with pytest.raises(SettingsError, match=r"REVIEWPULSE_TOKEN: .*it is empty"):
        load(AccessSettings)


@pytest.mark.parametrize("token", [" a token of the tests", "a token of the tests ", "a token of the tests\n"])
def test_a_token_with_a_blank_at_an_end_is_refused_because_nobody_could_show_it(token: str) -> None:
    with pytest.raises(SettingsError, match=r"REVIEWPULSE_TOKEN: .*begins or ends with a blank"):
        load(AccessSettings, token=token)


def test_an_empty_host_is_not_every_address() -> None:
    with pytest.raises(SettingsError, match="REVIEWPULSE_HOST"):
        load(DashboardSettings, host="")
    with pytest.raises(SettingsError, match="REVIEWPULSE_HEALTH_HOST"):
        load(WorkerSettings, health_host="")


@pytest.mark.parametrize("broker", ["", "localhost", "localhost:abc", "a:1,,b:2", "a:99999"])
def test_a_broker_that_is_no_address_is_refused_at_once(broker: str) -> None:
    with pytest.raises(SettingsError, match=r"REVIEWPULSE_BROKER.*host:port"):
        load(KafkaSettings, broker=broker)


@pytest.mark.parametrize("topic", ["bad topic!", "a/b", "..", "größe", "reviews\n", "x" * 250])
def test_a_topic_that_kafka_would_not_make_is_refused_at_once(topic: str) -> None:
    assert load(KafkaSettings, reviews_topic="x" * 249).topics == ("x" * 249, "predictions", "reviews.rejected")
    with pytest.raises(SettingsError, match=r"REVIEWPULSE_REVIEWS_TOPIC: .*is no name of a topic"):
        load(KafkaSettings, reviews_topic=topic)


@pytest.mark.parametrize("topic", ["reviews.rejected", "predictions"])
def test_a_worker_never_reads_what_it_writes(monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    """Pointed at its own rejections a worker wrote a thousand a second, for ever."""
    monkeypatch.setenv("REVIEWPULSE_REVIEWS_TOPIC", topic)

    with pytest.raises(SettingsError, match=r"^REVIEWPULSE_REVIEWS_TOPIC, .* must be three different topics, not "):
        load(KafkaSettings)


@pytest.mark.parametrize("proxies", ["*", "proxy", "127.0.0.1,", "10.1.2.3/8"])
def test_a_proxy_to_trust_is_an_address_or_a_network(proxies: str) -> None:
    assert load(DashboardSettings, trusted_proxies="127.0.0.1, ::1,10.1.0.0/16").trusted_proxies is not None
    with pytest.raises(SettingsError, match="REVIEWPULSE_TRUSTED_PROXIES"):
        load(DashboardSettings, trusted_proxies=proxies)


def test_a_password_is_not_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIEWPULSE_SASL_PASSWORD", "hush")
    monkeypatch.setenv("REVIEWPULSE_SECURITY_PROTOCOL", "SECRET")

    with pytest.raises(SettingsError) as raised:
        load(KafkaSettings)

    assert "hush" not in str(raised.value)
