import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.readme_tables import results_table

HOME = Path(__file__).parents[1]


def test_the_generated_tables_are_those_of_the_code() -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/readme_tables.py", "--check"], cwd=HOME, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stderr


def test_a_result_that_is_no_evaluation_of_this_version_makes_no_table(tmp_path: Path) -> None:
    old = json.loads((HOME / "docs" / "results" / "fast.json").read_text())
    del old["weights_bytes"]
    (tmp_path / "fast.json").write_text(json.dumps(old))

    with pytest.raises(SystemExit, match=r"fast\.json is no evaluation of this version .*weights_bytes"):
        results_table(tmp_path)


def test_every_file_that_the_readme_names_is_there() -> None:
    readme = (HOME / "README.md").read_text()

    links = [part.split(")")[0] for part in readme.split("](")[1:]]

    assert links
    assert [link for link in links if not link.startswith("http") and not (HOME / link).exists()] == []
