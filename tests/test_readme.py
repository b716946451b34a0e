import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).parents[1]


def test_the_generated_tables_are_those_of_the_code() -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/readme_tables.py", "--check"], cwd=HOME, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stderr


def test_every_file_that_the_readme_names_is_there() -> None:
    readme = (HOME / "README.md").read_text()

    links = [part.split(")")[0] for part in readme.split("](")[1:]]

    assert links
    assert [link for link in links if not link.startswith("http") and not (HOME / link).exists()] == []
