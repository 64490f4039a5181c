#!/usr/bin/env python3
"""Writes the parquet files of this folder and, beside each, its rows as pyarrow reads them (NAME.jsonl).

    python3 -m venv v && v/bin/pip install pyarrow==26.0.1 && v/bin/python make_parquet.py

All texts are made up here."""
import datetime
import decimal
import json
import pathlib
import random

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = pathlib.Path(__file__).parent
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omikron π \"rho\" \\sigma tau\n Привет 你好 😀".split(" ")


def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (datetime.date, decimal.Decimal)):
        return str(value)
    return value


def write(name, table, rows=None, **options):
    pq.write_table(table, FOLDER / f"{name}.parquet", **options)
    rows = plain(pq.read_table(FOLDER / f"{name}.parquet").to_pylist()) if rows is None else rows
    with open(FOLDER / f"{name}.jsonl", "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def text(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


def random_value(rng, kind, depth=0):
    if rng.random() < 0.15:
        return None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return text(rng, rng.randrange(6))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return text(rng, 2).encode()
    if pa.types.is_boolean(kind):
        return rng.random() < 0.5
    if pa.types.is_floating(kind):
        return rng.randrange(-1000, 1000) / 8
    if pa.types.is_integer(kind):
        return rng.randrange(0, 100)
    if pa.types.is_struct(kind):
        return {kind.field(i).name: random_value(rng, kind.field(i).type, depth + 1) for i in range(kind.num_fields)}
    return [random_value(rng, kind.value_type, depth + 1) for _ in range(rng.randrange(4))]


def random_type(rng, depth=0):
    leaf = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.bool_(), pa.int8(), pa.int32(), pa.int64(), pa.uint16(),
            pa.uint64(), pa.float32(), pa.float64()]
    if depth < 3 and rng.random() < 0.4:
        if rng.random() < 0.5:
            return pa.struct([(f"m{i}", random_type(rng, depth + 1)) for i in range(rng.randrange(1, 3))])
        inner = random_type(rng, depth + 1)
        return rng.choice([pa.list_, pa.large_list])(inner)
    return rng.choice(leaf)


def main():
    rng = random.Random(7)
    long_text = [text(rng, rng.randrange(3, 12)) for _ in range(30)]
    write("snappy", pa.table({"text": long_text, "meta": [{"pile_set_name": rng.choice(["A", "B"])} for _ in long_text]}),
          compression="snappy", row_group_size=10)
    write("zstd_large", pa.table({"id": pa.array(range(30)), "content": pa.array(long_text, pa.large_string())}), compression="zstd",
          use_dictionary=False)
    write("dictionary", pa.table({"language": pa.array(["Python", "C++", "Python"] * 10).dictionary_encode(), "code": long_text}),
          compression="none")
    turns = [[{"content": text(rng, 4), "role": role} for role in ("user", "assistant") * (1 + i % 2)] for i in range(12)]
    write("messages", pa.table({"prompt": [t[0]["content"] for t in turns], "messages": turns}), compression="gzip", row_group_size=5)
    write("page_index", pa.table({"text": long_text * 4, "n": range(120)}), compression="zstd", write_page_index=True, data_page_version="2.0",
          data_page_size=256, row_group_size=50)
    write("encodings", pa.table({"text": long_text, "n": pa.array(range(30), pa.int64()), "x": [i / 4 for i in range(30)]}),
          use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY", "n": "DELTA_BINARY_PACKED", "x": "BYTE_STREAM_SPLIT"})
    days = [datetime.date(2020, 1, 1 + i) for i in range(4)]
    write("types", pa.table({
        "day": days, "price": pa.array([decimal.Decimal("1.25")] * 4), "nothing": pa.nulls(4),
        "map": pa.array([[("a", 1)], [], None, [("b", 2), ("c", None)]], pa.map_(pa.string(), pa.int32())),
        "pair": pa.array([["a", "b"], None, ["c", "d"], ["e", None]], pa.list_(pa.string(), 2)), "text": long_text[:4]}),
        rows=[{"day": str(d), "price": "1.25", "nothing": None, "map": m, "pair": p, "text": t} for d, m, p, t in zip(
            days, [[{"key": "a", "value": 1}], [], None, [{"key": "b", "value": 2}, {"key": "c", "value": None}]],
            [["a", "b"], None, ["c", "d"], ["e", None]], long_text)])
    # Sixteen row groups, and a column nobody asks for that is most of the file.
    noise = random.Random(8)
    write("groups", pa.table({"text": [f"row {i:03} " + noise.randbytes(40).hex() for i in range(160)],
                              "picture": pa.array([noise.randbytes(500) for _ in range(160)])}),
          rows=[], compression="none", row_group_size=10, use_dictionary=False)
    (FOLDER / "groups.jsonl").unlink()
    # Small files that are large when decoded: one text of 100 MB, and 600 texts of 1 MB in one page.
    pq.write_table(pa.table({"text": ["a" * 100_000_000]}), FOLDER / "bomb_row.parquet", compression="zstd", use_dictionary=False,
                   write_statistics=False)
    pq.write_table(pa.table({"text": ["a" * 1_000_000] * 600}), FOLDER / "bomb_page.parquet", compression="zstd", use_dictionary=False,
                   write_statistics=False, data_page_size=1 << 30, write_batch_size=1024)
    pq.write_table(pa.table({"text": pa.array(["a"] * 5_000_000).dictionary_encode()}), FOLDER / "bomb_rows.parquet", compression="zstd",
                   write_statistics=False, row_group_size=5_000_000)
    # Types and options at random.
    for number in range(20):
        rng = random.Random(100 + number)
        kinds = {f"c{i}": random_type(rng) for i in range(rng.randrange(1, 4))}
        count = rng.randrange(0, 40)
        columns = {name: pa.array([random_value(rng, kind) for _ in range(count)], kind) for name, kind in kinds.items()}
        write(f"random_{number:02}", pa.table(columns), compression=rng.choice(["none", "snappy", "gzip", "zstd", "brotli", "lz4"]),
              use_dictionary=rng.random() < 0.5, row_group_size=rng.choice([1, 7, 100]), data_page_version=rng.choice(["1.0", "2.0"]),
              data_page_size=rng.choice([64, 1 << 20]), write_page_index=rng.random() < 0.5, store_schema=rng.random() < 0.8)


main()
