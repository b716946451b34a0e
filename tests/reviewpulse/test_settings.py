import pytest

from reviewpulse.errors import SettingsError
from reviewpulse.settings import DashboardSettings, KafkaSettings, load


def test_a_setting_comes_from_the_environment_and_an_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIEWPULSE_PORT", "9999")

    assert load(DashboardSettings).port == 9999
    assert load(DashboardSettings, port=None).port == 9999
    assert load(DashboardSettings, port=7).port == 7


def test_an_unusable_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIEWPULSE_PORT", "many")

    with pytest.raises(SettingsError, match="REVIEWPULSE_PORT"):
        load(DashboardSettings)


@pytest.mark.parametrize("broker", ["", "localhost", "localhost:abc", "a:1,,b:2", "a:99999"])
def test_a_broker_that_is_no_address_is_refused_at_once(broker: str) -> None:
    with pytest.raises(SettingsError, match=r"REVIEWPULSE_BROKER.*host:port"):
        load(KafkaSettings, broker=broker)


def test_a_password_is_not_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIEWPULSE_SASL_PASSWORD", "hush")
    monkeypatch.setenv("REVIEWPULSE_SECURITY_PROTOCOL", "SECRET")

    with pytest.raises(SettingsError) as raised:
        load(KafkaSettings)

    assert "hush" not in str(raised.value)
