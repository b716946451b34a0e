from pathlib import Path

import yaml

from reviewpulse.settings import unknown_variables

SERVICES = yaml.safe_load((Path(__file__).parents[1] / "docker-compose.yml").read_text())["services"]
OURS = {name: service["environment"] for name, service in SERVICES.items() if service.get("image") == "reviewpulse"}


def test_what_serves_takes_token_and_store_from_the_host_and_no_token_where_it_has_none() -> None:
    taken = {
        name: (OURS[name]["REVIEWPULSE_TOKEN"], OURS[name]["REVIEWPULSE_STORE"]) for name in ("worker", "dashboard")
    }

    both = (None, "${REVIEWPULSE_STORE:-sqlite:////data/reviewpulse.db}")
    assert taken == {"worker": both, "dashboard": both}
    assert 'os.environ.get("REVIEWPULSE_TOKEN"' in SERVICES["worker"]["healthcheck"]["test"][-1]


def test_worker_and_replay_talk_to_the_kafka_of_the_file_about_the_same_topics() -> None:
    kafka = {name: value for name, value in OURS["worker"].items() if name in OURS["replay"]}

    assert OURS["replay"] == kafka
    assert kafka["REVIEWPULSE_BROKER"] == "kafka:9094"


def test_every_setting_of_the_file_is_one() -> None:
    assert unknown_variables(name for environment in OURS.values() for name in environment) == []
