"""Where the bundled sample of reviews is."""

from importlib import resources
from pathlib import Path

from reviewpulse.errors import ReviewFileError


def sample_path() -> Path:
    """Return the file of reviews that comes with the package; raises ReviewFileError when it is missing."""
    path = Path(str(resources.files("producer"))) / "sample" / "reviews.jsonl"
    if not path.is_file():
        raise ReviewFileError(f"{path} is missing; install reviewpulse again")
    return path
