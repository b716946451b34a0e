"""No command ever says a password or the token, whatever fails and however much it is to say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reviewpulse.settings import KafkaSettings, load
from tests.integration.processes import WAIT_SECONDS, Desk

SECRET = "s3cret-of-the-tests"
NOWHERE = "127.0.0.1:1"
SETTINGS = {
    "REVIEWPULSE_SECURITY_PROTOCOL": "SASL_SSL",
    "REVIEWPULSE_SASL_MECHANISM": "SCRAM-SHA-256",
    "REVIEWPULSE_SASL_USERNAME": "me",
    "REVIEWPULSE_SASL_PASSWORD": SECRET,
    "REVIEWPULSE_TOKEN": SECRET,
    "REVIEWPULSE_STORE": f"postgresql://me:{SECRET}@{NOWHERE}/reviews",
    "REVIEWPULSE_CONNECT_SECONDS": "0.5",
    "HTTPS_PROXY": f"http://{NOWHERE}",
    "HF_HUB_OFFLINE": "1",
}
COMMANDS = (
    ("work",),
    ("work", "--workers", "2"),
    ("publish", "mine.jsonl"),
    ("tail",),
    ("dashboard", "--host", "nowhere.invalid"),
    ("demo", "missing.jsonl"),
    ("download", "No_Such_Category"),
    ("eda", "missing.jsonl"),
    ("train", "missing.jsonl", "--into", "new"),
    ("models", "promote", "missing", "mine.jsonl"),
)


@pytest.fixture
def desk(tmp_path: Path, tiny_checkpoint: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, load(KafkaSettings, broker=NOWHERE), tiny_checkpoint)
    (tmp_path / "mine.jsonl").write_text('{"text": "mine", "rating": 5}\n' * 3)
    yield desk
    desk.clear()


def test_no_command_that_fails_says_a_secret(desk: Desk) -> None:
    for first in range(0, len(COMMANDS), 2):
        commands = COMMANDS[first : first + 2]
        running = [desk.start("--verbose", *command, **SETTINGS) for command in commands]
        for command, process in zip(commands, running, strict=True):
            code, output = process.wait(WAIT_SECONDS), desk.output_of(process)
            assert (code, "error: " in output) in {(1, True), (2, False)}, (command, code, output)
            assert SECRET not in output, (command, output)
    for log in desk.folder.rglob("*.log"):
        assert SECRET not in log.read_text()


@pytest.mark.parametrize(
    ("name", "value", "command"),
    [
        ("TOKEN", "s3cret", ("dashboard",)),
        ("STORE", "no url but s3cret", ("dashboard", "--port", "0")),
        ("SASL_PASSWORD", "s3cret", ("tail",)),
    ],
)
def test_a_secret_that_cannot_be_used_is_not_repeated(
    desk: Desk, name: str, value: str, command: tuple[str, ...]
) -> None:
    settings = {f"REVIEWPULSE_{name}": value, "REVIEWPULSE_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}
    code, output = desk.run(*command, **settings)

    assert (code, output.count("error: ")) == (1, 1), output
    assert "s3cret" not in output
