"""Coverage-guided fuzzing of the decoder: arbitrary bytes become a review that can be sent on, or a reject.

Run by `make fuzz`; it ends at the first input that breaks this, and writes it beside the corpus.
"""

import sys

import atheris

with atheris.instrument_imports():
    from reviewpulse.records import Rejected, TextLimit, decode_review
    from reviewpulse.text import model_text


def one(raw: bytes) -> None:
    """Decode, clean and encode one input; any exception is a find."""
    record = decode_review(raw, TextLimit(1_000))
    if isinstance(record, Rejected):
        if record.raw != raw or not record.reason:
            raise AssertionError("a reject without its bytes or its reason")
        return
    model_text(record.title or "", record.text)
    if decode_review(record.encode(), TextLimit(1_000)) != record:
        raise AssertionError("a review that does not survive being sent on")


def main() -> None:
    """Fuzz with libFuzzer's own options, such as -max_total_time=300."""
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
