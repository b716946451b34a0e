"""Rows come out of every kind of file, damaged ones too, at constant memory."""

import csv
import datetime as dt
import gzip
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewpulse.errors import ReviewFileError
from reviewpulse.files import BadRow, Row, check_file, read_rows
from reviewpulse.rows import MAX_LINE_BYTES

FIELDS = {"rating": 4, "text": "über gut, 'wirklich'"}


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "A.JSONL.GZ"])
def test_json_lines_are_rows_with_their_line_numbers(tmp_path: Path, name: str) -> None:
    line = json.dumps(FIELDS).encode()
    path = written(tmp_path / name.lower(), line + b"\n\n" + line + b"\r\n" + line)
    assert list(read_rows(path)) == [Row(1, FIELDS), Row(3, FIELDS), Row(4, FIELDS)]


def test_a_json_line_that_is_no_object_is_a_bad_row_and_reading_goes_on(tmp_path: Path) -> None:
    lines = [b"[1]", b'{"text": "cut', b'{"text": "\xff"}', b'{"a":' * 2000, b'{"text": "ok"}']
    bad = list(read_rows(written(tmp_path / "a.jsonl", b"\n".join(lines))))
    assert bad.pop() == Row(5, {"text": "ok"})
    assert [(row.line, row.raw) for row in bad if isinstance(row, BadRow)] == list(enumerate(lines[:4], start=1))
    assert [row.reason for row in bad if isinstance(row, BadRow)][2] == "not UTF-8"


def test_an_absurdly_long_line_is_a_bad_row_of_a_few_bytes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl.gz", b'{"text": "' + b"x" * (2 * MAX_LINE_BYTES) + b'"}\n{"text": "ok"}\n')
    long, good = read_rows(path)
    assert isinstance(long, BadRow)
    assert (long.line, len(long.raw), long.reason) == (1, 1000, "longer than 16,777,216 bytes")
    assert good == Row(2, {"text": "ok"})


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_an_absurdly_long_line_of_text_is_a_bad_row_too(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, b"text\n" + b"x" * (MAX_LINE_BYTES + 10) + b"\nok\n")
    assert [type(row) for row in read_rows(path)][-2:] == [BadRow, Row]
    assert list(read_rows(path))[-1] == Row(3, {"text": "ok"})


def test_a_json_array_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", b'[\n{"text": "a"},\n{"text": "b"}\n]\n')
    with pytest.raises(ReviewFileError, match="one JSON array; write one object a line"):
        list(read_rows(path))


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    assert list(read_rows(written(tmp_path / "a.csv", b"\xef\xbb\xbftext\nok\n"))) == [Row(2, {"text": "ok"})]
    with pytest.raises(ReviewFileError, match="UTF-16; save it as UTF-8"):
        list(read_rows(written(tmp_path / "b.csv", "text\nok\n".encode("utf-16"))))


def test_text_lines_are_texts(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", b'good, really\r\n \n\xe9\n"quoted"\n')
    assert list(read_rows(path)) == [
        Row(1, {"text": "good, really"}),
        BadRow(3, b"\xe9", "not UTF-8"),
        Row(4, {"text": '"quoted"'}),
    ]


def test_csv_fields_may_hold_line_ends_quotes_and_nul(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", b'rating,text\r\n5,"two\nlines, ""quoted"""\r\n\r\n1,a\x00b\r\n')
    assert list(read_rows(path)) == [
        Row(2, {"rating": "5", "text": 'two\nlines, "quoted"'}),
        Row(5, {"rating": "1", "text": "a\0b"}),
    ]


def test_ragged_and_undecodable_csv_rows_are_bad_and_the_next_ones_good(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", b'rating,text\n5\n5,a,b\n4,"caf\xe9\nx"\n3,ok\n')
    assert list(read_rows(path)) == [
        BadRow(2, b"5", "1 columns where the header has 2"),
        BadRow(3, b"5,a,b", "3 columns where the header has 2"),
        BadRow(4, b'4,"caf\xe9\nx"', "not UTF-8"),
        Row(6, {"rating": "3", "text": "ok"}),
    ]


@pytest.mark.parametrize("rows_behind", [3, 20_000])
def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path, rows_behind: int) -> None:
    path = written(tmp_path / "a.csv", b'rating,text\n5,"oops\n' + b"3,still read\n" * rows_behind)
    bad, *good = read_rows(path)
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.raw) == (2, b'5,"oops')
    assert "never closed" in bad.reason
    assert [row.line for row in good] == list(range(3, 3 + rows_behind))


def test_the_delimiter_follows_the_extension_and_the_header(tmp_path: Path) -> None:
    expected = [Row(2, {"rating": "5", "text": "a, b"})]
    assert list(read_rows(written(tmp_path / "a.tsv.gz", b"rating\ttext\n5\ta, b\n"))) == expected
    assert list(read_rows(written(tmp_path / "a.csv", b"rating;text\n5;a, b\n"))) == expected


def test_the_customer_reviews_form_knows_no_quotes_but_other_tsv_does(tmp_path: Path) -> None:
    customer = written(tmp_path / "a.tsv", b'star_rating\treview_body\n5\t"Great" stuff\n4\t"Ha\n')
    assert [row.fields["review_body"] for row in read_rows(customer) if isinstance(row, Row)] == [
        '"Great" stuff',
        '"Ha',
    ]
    other = written(tmp_path / "b.tsv", b'rating\ttext\n5\t"tab\there"\n')
    assert list(read_rows(other)) == [Row(2, {"rating": "5", "text": "tab\there"})]


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r")), st.text('ab,"\n;\t'))))
def test_what_a_csv_writer_wrote_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("a", "b"), ("start", "s"), *rows])
    assert [row.fields for row in read_rows(path) if isinstance(row, Row)] == [
        {"a": a, "b": b} for a, b in [("start", "s"), *rows]
    ]


def test_a_workbook_gives_numbers_dates_and_texts(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    moment = dt.datetime(2020, 5, 1, 12)  # noqa: DTZ001 (workbooks know no zones)
    for values in (["rating", "text", "when"], [5, "good", moment], [], [4, "short"], [1, "long", None, "extra"]):
        book.active.append(values)
    book.save(tmp_path / "a.xlsx")
    *rows, bad = read_rows(tmp_path / "a.xlsx")
    assert rows == [
        Row(2, {"rating": 5, "text": "good", "when": moment}),
        Row(4, {"rating": 4, "text": "short", "when": None}),
    ]
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.reason) == (5, "4 columns where the header has 3")


def test_parquet_rows_come_in_order_across_batches(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": [str(n) for n in range(1000)], "rating": [None, 5.0] * 500}), tmp_path / "a.parquet"
    )
    rows = list(read_rows(tmp_path / "a.parquet"))
    assert [row.line for row in rows] == list(range(1, 1001))
    assert rows[-1] == Row(1000, {"text": "999", "rating": 5.0})


def test_a_truncated_gzip_delivers_its_rows_and_then_says_so(tmp_path: Path) -> None:
    lines = b"".join(b'{"text": "review %d"}\n' % number for number in range(50_000))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(lines)[:-20_000])
    rows: list[Row | BadRow] = []
    with pytest.raises(ReviewFileError, match=r"a\.jsonl\.gz ends in the middle, after row \d+; download it again"):
        rows.extend(read_rows(path))  # keeps what came before the error
    assert len(rows) > 30_000
    assert rows == [Row(number + 1, {"text": f"review {number}"}) for number in range(len(rows))]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", b"no gzip at all"),
        ("b.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 9, mtime=0)[:-8] + b"12345678"),
        ("a.xlsx", b"no workbook"),
        ("a.parquet", b"PAR1 no table PAR1"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_file_and_cure(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ReviewFileError, match=rf"{name} is .*(download|export|save) it again"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.csv", b"rating,text\n", "holds no rows"),
        ("a.jsonl", b"\n\n", "holds no rows"),
        ("a.csv", b'"text\nno end', "the header of .* cannot be read"),
    ],
)
def test_a_file_without_rows_is_an_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ReviewFileError, match=message):
        list(read_rows(written(tmp_path / name, content)))


def test_what_cannot_be_read_at_all_is_told_before_the_first_row(tmp_path: Path) -> None:
    with pytest.raises(ReviewFileError, match="is a directory"):
        check_file(tmp_path)
    with pytest.raises(ReviewFileError, match=r"cannot read .*no\.jsonl: No such file"):
        read_rows(tmp_path / "no.jsonl")
    for name in ("a.xls", "a.xlsx.gz", "a.gz", "a", "a.zip"):
        with pytest.raises(ReviewFileError, match=r"no known kind; save it as one of \.jsonl, "):
            check_file(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv.gz", "a.parquet", "a.xlsx"])
def test_the_bytes_read_go_up_to_the_size_of_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.table({"text": [str(n) for n in range(3000)]}), path)
    elif name.endswith("xlsx"):
        book = openpyxl.Workbook()
        for number in range(3000):
            book.active.append([f"text {number}"])
        book.save(path)
    else:
        lines = [json.dumps({"text": str(n)}) if "json" in name else f"text {n}" for n in range(3000)]
        written(path, "\n".join(lines).encode())
    seen: list[int] = []
    for _ in read_rows(path, seen.append):
        pass
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert seen[-1] == path.stat().st_size


@pytest.mark.parametrize("name", ["big.jsonl.gz", "big.csv"])
def test_memory_stays_flat_over_hundreds_of_megabytes(tmp_path: Path, name: str) -> None:
    review = "word " * 4000
    line = json.dumps({"text": review}).encode() if "json" in name else f'5,"{review}\n{review}"'.encode()
    block = (line + b"\n") * (20_000_000 // len(line))
    path = tmp_path / name
    with gzip.open(path, "wb", compresslevel=1) if path.suffix == ".gz" else path.open("wb") as file:
        if path.suffix == ".csv":
            file.write(b"rating,text\n")
        for _ in range(15):
            file.write(block)
    probe = textwrap.dedent("""
        import sys
        from pathlib import Path
        import psutil
        from reviewpulse.files import read_rows
        used, memory_bytes = psutil.Process(), []
        for number, row in enumerate(read_rows(Path(sys.argv[1])), start=1):
            if number % 500 == 0:
                memory_bytes.append(used.memory_info().rss)
        print(number, max(memory_bytes) - memory_bytes[0])
    """)
    done = subprocess.run([sys.executable, "-c", probe, str(path)], capture_output=True, text=True, check=True)
    rows, grown_bytes = map(int, done.stdout.split())
    assert rows == 15 * (20_000_000 // len(line))
    assert grown_bytes < 2_000_000
