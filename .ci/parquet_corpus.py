"""Writes Parquet files with pyarrow and polars in every type, codec and page layout that ratings come in.

Usage: parquet_corpus.py FOLDER. Beside each NAME.parquet lies NAME.json: what pyarrow itself reads of it, row by row as
[user, item, rating, time], without the rows that lack a user, an item or a rating. A test of the worker compares.
"""

import datetime
import itertools
import json
import pathlib
import sys
from decimal import Decimal

import polars
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 40
BEGIN = 978_300_760
UTC = datetime.timezone.utc

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)


def times(kind):
    """Times, half a second off the whole one where the unit allows it; days for dates."""
    days = pa.types.is_date(kind)
    moments = [
        datetime.datetime.fromtimestamp(BEGIN + row * 86_400, tz=UTC)
        + datetime.timedelta(milliseconds=0 if kind == pa.timestamp("s") else 500)
        for row in range(ROWS)
    ]
    if days:
        return pa.array([moment.date() for moment in moments], type=kind)
    zone = getattr(kind, "tz", None)
    return pa.array([moment if zone else moment.replace(tzinfo=None) for moment in moments], type=kind)


def integers(kind):
    top = {"int8": 127, "uint8": 255, "int16": 2**15 - 1, "uint16": 2**16 - 1, "uint32": 2**32 - 1}
    top = top.get(str(kind), 2**31 - 1 if str(kind) == "int32" else 2**62)
    return pa.array([top - row if row % 2 else row for row in range(ROWS)], type=kind)


def texts(kind):
    return pa.array([f"u{row:02}é" for row in range(ROWS)], type=pa.string()).cast(kind)


IDS = [
    *[lambda kind=kind: integers(kind) for kind in (
        pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()
    )],
    *[lambda kind=kind: texts(kind) for kind in (pa.string(), pa.large_string(), pa.binary())],
    lambda: texts(pa.string()).dictionary_encode(),
    lambda: pa.array([float(row) for row in range(ROWS)], type=pa.float64()),
    lambda: pa.array([Decimal(10) ** 17 + row for row in range(ROWS)], type=pa.decimal128(38, 0)),
    lambda: pa.array([Decimal(row) for row in range(ROWS)], type=pa.decimal256(60, 2)),
    lambda: pa.array([b"%03d" % row for row in range(ROWS)], type=pa.binary(3)),
]
HALVES = [row % 10 / 2 for row in range(ROWS)]
RATINGS = [
    *[lambda kind=kind: pa.array(HALVES, type=pa.float64()).cast(kind) for kind in (pa.float32(), pa.float64())],
    lambda: pa.array(HALVES, type=pa.float32()).cast(pa.float16()),
    *[lambda kind=kind: pa.array([row % 5 for row in range(ROWS)], type=kind) for kind in (
        pa.int8(), pa.uint8(), pa.int32(), pa.int64(), pa.uint64()
    )],
    *[lambda kind=kind: pa.array([Decimal(str(value)) for value in HALVES], type=kind) for kind in (
        pa.decimal128(3, 1), pa.decimal128(12, 2), pa.decimal128(38, 10), pa.decimal256(60, 4)
    )],
    lambda: pa.array([row % 3 == 0 for row in range(ROWS)], type=pa.bool_()),
    lambda: pa.array([str(value) for value in HALVES]),
]
TIMES = [
    *[lambda kind=kind: times(kind) for kind in (
        pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us", tz="UTC"), pa.timestamp("ns"),
        pa.timestamp("us"), pa.timestamp("ms", tz="Europe/Berlin"), pa.date32(), pa.date64(),
    )],
    lambda: pa.array([BEGIN + row for row in range(ROWS)], type=pa.int64()),
    lambda: pa.array([f"2001-02-{row % 28 + 1:02} 03:04:05" for row in range(ROWS)]),
]


def without(array, at):
    """The array with a null in each seventh row, counted from `at`."""
    mask = pa.array([row % 7 == at for row in range(ROWS)])
    return pa.array(
        [None if mask[row].as_py() else array[row].as_py() for row in range(ROWS)], type=array.type
    )


def text_of(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (float, Decimal)):
        return str(int(value))
    return str(value)


def seconds_of(value):
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    if isinstance(value, int):
        return value
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    value = value if value.tzinfo else value.replace(tzinfo=UTC)
    return int(value.timestamp() // 1)


def expect(path):
    rows = []
    for row in pq.read_table(path).to_pylist():
        user, item, rating = row["userId"], row["movieId"], row["rating"]
        if None not in (user, item, rating):
            rows.append([text_of(user), text_of(item), float(rating), seconds_of(row["timestamp"])])
    path.with_suffix(".json").write_text(json.dumps(rows))


def write_arrow():
    layouts = itertools.product(
        ["none", "snappy", "gzip", "brotli", "zstd", "lz4"], ["1.0", "2.0"], [True, False], [True, False]
    )
    for number, (codec, pages, dictionary, nulls) in enumerate(layouts):
        user, item = IDS[number % len(IDS)](), IDS[(number * 5 + 3) % len(IDS)]()
        rating, time = RATINGS[number % len(RATINGS)](), TIMES[number % len(TIMES)]()
        if nulls:
            user, item, rating = without(user, 0), without(item, 1), without(rating, 2)
        table = pa.table({"userId": user, "movieId": item, "rating": rating, "timestamp": time})
        path = folder / f"arrow-{number:02}-{codec}-v{pages[0]}-{'dictionary' if dictionary else 'plain'}.parquet"
        pq.write_table(
            table, path, compression=codec, data_page_version=pages, use_dictionary=dictionary,
            row_group_size=17, data_page_size=128, use_deprecated_int96_timestamps=number % 5 == 0,
            version="2.6" if number % 3 else "1.0" if str(time.type) != "timestamp[ns]" else "2.4",
        )
        expect(path)


def write_encodings():
    """Encodings that newer writers use for columns without a dictionary."""
    for number, (ids, real) in enumerate([
        ("DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"), ("PLAIN", "PLAIN"), ("DELTA_BINARY_PACKED", "PLAIN")
    ]):
        for texts_as in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
            table = pa.table({
                "userId": texts(pa.string()), "movieId": integers(pa.int64()),
                "rating": pa.array(HALVES, type=pa.float32()), "timestamp": times(pa.timestamp("us")),
            })
            path = folder / f"encoding-{number}-{texts_as}.parquet"
            encodings = {"userId": texts_as, "movieId": ids, "rating": real, "timestamp": ids}
            pq.write_table(table, path, use_dictionary=False, column_encoding=encodings)
            expect(path)


def write_polars():
    for number, codec in enumerate(["uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4"]):
        frame = polars.DataFrame({
            "userId": polars.Series([None if row == 3 else row for row in range(ROWS)], dtype=polars.UInt32),
            "movieId": [f"m{row}" for row in range(ROWS)],
            "rating": polars.Series(HALVES, dtype=[polars.Float32, polars.Float64][number % 2]),
            "timestamp": polars.Series(
                [datetime.datetime.fromtimestamp(BEGIN + row, tz=UTC).replace(tzinfo=None) for row in range(ROWS)],
                dtype=polars.Datetime(["ms", "us", "ns"][number % 3]),
            ),
        })
        path = folder / f"polars-{number}-{codec}.parquet"
        frame.write_parquet(path, compression=codec, row_group_size=11, data_page_size=256)
        expect(path)


write_arrow()
write_encodings()
write_polars()
print(f"{len(list(folder.glob('*.parquet')))} files in {folder}")
