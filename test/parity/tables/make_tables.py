"""Parquet and Arrow files by pyarrow, and their values as qkv gives them: `python make_tables.py FOLDER ROWS SEED` (compare-tables.ts calls it).

All files hold the same rows, which are in FOLDER/rows.jsonl: integers beyond 2^53 as text, moments as ISO 8601, times of the day as microseconds, bytes as base64.
"""
import base64
import datetime
import decimal
import json
import random
import sys

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

folder, rows, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)


def maybe(value, share=0.2):
    return None if rng.random() < share else value


def text(longest):
    return "".join(rng.choice(["row", " ", "é", "春", "眠", "🙂", "\n", '"', "x" * 9]) for _ in range(rng.randrange(longest)))


def some(make, most=4):
    return [make() for _ in range(rng.randrange(most))]


day = datetime.date(1970, 1, 1)
start = datetime.datetime(2001, 2, 3, 4, 5, 6)
columns = {
    "text": (pa.string(), lambda: maybe(text(12))),
    "same": (pa.string(), lambda: rng.choice(["a", "b", "春眠"])),
    "large": (pa.large_string(), lambda: maybe(text(40), 0.05)),
    "bytes": (pa.binary(), lambda: maybe(b"\xff" + rng.randbytes(rng.randrange(8)))),
    "i8": (pa.int8(), lambda: rng.randrange(-128, 128)),
    "i16": (pa.int16(), lambda: maybe(rng.randrange(-(2**15), 2**15))),
    "i32": (pa.int32(), lambda: rng.randrange(-(2**31), 2**31)),
    "i64": (pa.int64(), lambda: maybe(rng.choice([rng.randrange(-(2**63), 2**63), rng.randrange(-99, 99)]))),
    "u8": (pa.uint8(), lambda: rng.randrange(256)),
    "u32": (pa.uint32(), lambda: rng.randrange(2**32)),
    "u64": (pa.uint64(), lambda: maybe(rng.randrange(2**64))),
    "f32": (pa.float32(), lambda: rng.choice([0.5, -1.25, 3e10, 0.0])),
    "f64": (pa.float64(), lambda: maybe(rng.random())),
    "yes": (pa.bool_(), lambda: maybe(rng.random() < 0.5)),
    "day": (pa.date32(), lambda: maybe(day + datetime.timedelta(rng.randrange(-20000, 40000)))),
    "ms": (pa.timestamp("ms"), lambda: maybe(start + datetime.timedelta(milliseconds=rng.randrange(10**12)))),
    "us": (pa.timestamp("us", tz="UTC"), lambda: start + datetime.timedelta(milliseconds=rng.randrange(10**12))),
    "decimal": (pa.decimal128(12, 3), lambda: maybe(decimal.Decimal(rng.randrange(-(10**9), 10**9)).scaleb(-3))),
    "time": (pa.time64("us"), lambda: maybe(datetime.time(rng.randrange(24), 5, 6, rng.randrange(10**6)))),
    "half": (pa.float16(), lambda: rng.choice([0.5, -1.25, 1024.0])),
    "moments": (pa.list_(pa.timestamp("ms")), lambda: maybe(some(lambda: maybe(start + datetime.timedelta(rng.randrange(99)))))),
    "born": (pa.struct([("day", pa.date32()), ("sum", pa.decimal128(5, 1))]), lambda: maybe({"day": day, "sum": decimal.Decimal("-12.5")})),
    "sums": (pa.list_(pa.decimal128(7, 2)), lambda: maybe(some(lambda: maybe(decimal.Decimal(rng.randrange(-99999, 99999)).scaleb(-2))))),
    "list": (pa.list_(pa.string()), lambda: maybe(some(lambda: maybe(text(4))))),
    "lists": (pa.list_(pa.list_(pa.int32())), lambda: maybe(some(lambda: maybe(some(lambda: maybe(rng.randrange(99))))))),
    "part": (
        pa.struct([("a", pa.int32()), ("b", pa.string()), ("c", pa.list_(pa.float64()))]),
        lambda: maybe({"a": maybe(rng.randrange(9)), "b": maybe(text(3)), "c": maybe(some(rng.random))}),
    ),
    "turns": (
        pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
        lambda: some(lambda: {"role": rng.choice(["user", "assistant"]), "content": maybe(text(6))}),
    ),
}


def plain(value):
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"  # all of them are UTC
    if isinstance(value, datetime.date):
        return value.isoformat() + "T00:00:00.000Z"
    if isinstance(value, datetime.time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 10**6 + value.microsecond
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value


table = pa.table({name: pa.array([make() for _ in range(rows)], kind) for name, (kind, make) in columns.items()})
with open(f"{folder}/rows.jsonl", "w") as out:
    for row in table.to_pylist():
        out.write(json.dumps({k: plain(v) for k, v in row.items()}, ensure_ascii=False) + "\n")

group = max(1, rows // 2 + 1)
codecs = ["none", "snappy", "gzip", "zstd", "brotli", "lz4"]
for codec in codecs:
    pq.write_table(table, f"{folder}/{codec}.parquet", compression=codec, row_group_size=group, write_statistics=False, store_schema=False)
few = {"row_group_size": group, "write_statistics": False, "store_schema": False}
pq.write_table(table, f"{folder}/plain.parquet", use_dictionary=False, compression="zstd", **few)
pq.write_table(table, f"{folder}/v2.parquet", data_page_version="2.0", data_page_size=512, compression="snappy", **few)
delta = {"text": "DELTA_BYTE_ARRAY", "same": "DELTA_LENGTH_BYTE_ARRAY", "i32": "DELTA_BINARY_PACKED", "i64": "DELTA_BINARY_PACKED", "f64": "BYTE_STREAM_SPLIT"}
pq.write_table(table, f"{folder}/delta.parquet", use_dictionary=False, column_encoding=delta, compression="gzip", **few)
dictionary = table.set_column(1, "same", table["same"].dictionary_encode())
for codec in [None, "lz4", "zstd"]:
    options = pa.ipc.IpcWriteOptions(compression=codec)
    for kind, writer in {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}.items():
        with writer(f"{folder}/{codec or 'plain'}-{kind}.arrow", dictionary.schema, options=options) as out:
            out.write_table(dictionary, max_chunksize=group)
