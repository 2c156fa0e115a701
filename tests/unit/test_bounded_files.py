"""Other programs' files within bounds: what is too large, too deep or expands is refused at once, by its name."""

from __future__ import annotations

import json
import math
import os
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from m3d_cli import bounded_files
from m3d_cli.bounded_files import (
    DEEPEST,
    MOST_VALUES,
    MOST_YAML_VALUES,
    parse_json,
    parse_toml,
    parse_xml,
    parse_yaml,
    read_bytes,
    reading,
)
from m3d_cli.errors import CalibrationError, PoseError, UsageError

SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("abc xyz:#-'\"äß{}[],&*!|>%@0123", max_size=9)
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner),
    max_leaves=9,
)


@given(DOCUMENTS)
def test_yaml_that_pyyaml_writes_comes_back(document):
    assert parse_yaml(yaml.safe_dump(document, allow_unicode=True)) == document


@pytest.mark.parametrize("has_libyaml", [True, False])
def test_scalars_of_yaml_are_numbers_where_they_look_like_it(has_libyaml, monkeypatch):
    if not has_libyaml:
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    text = "a: [1, -2.5, .5, 1., 1e3, 5.25e+02, '7', abc, ~, true, -.inf, 0x1F]\nb: .nan\n"
    found = parse_yaml(text)
    assert found["a"] == [1, -2.5, 0.5, 1.0, 1000.0, 525.0, "7", "abc", None, True, -math.inf, "0x1F"]
    assert math.isnan(found["b"])


def test_the_first_of_several_yaml_documents_is_read():
    assert parse_yaml("a: 1\n---\na: 2\n---\n[") == {"a": 1}
    assert parse_yaml("%YAML:1.0\n---\nm: !!opencv-matrix\n   rows: 1\n") == {"m": {"rows": 1}}
    assert parse_yaml("# by hand\n\n%YAML:1.0\n---\na: 1\n") == {"a": 1}
    assert parse_yaml("%YAML:1.0\nm: !!opencv-matrix\n   data:[1, 2]\nb:-3\n") == {"m": {"data": [1, 2]}, "b": -3}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_json, b"[" * 100_000 + b"]" * 100_000),
        (parse_json, b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2)),
        (parse_json, b"[" + b"[]," * MOST_VALUES + b"0]"),
        (parse_json, b"9" * 100_000),
        (parse_yaml, "[" * 100_000),
        (parse_yaml, "- " * 100_000),
        (parse_yaml, "? " * 100_000),
        (parse_yaml, "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
        (parse_yaml, "a: 1\n" * MOST_YAML_VALUES),
        (parse_toml, "a" + ".a" * 20_000 + " = 1"),
        (parse_toml, "['a'" + " . 'a'" * 20_000 + "]"),
        (parse_toml, "a = " + "[" * 100_000),
        (parse_xml, b"<a>" * 100_000),
        (parse_xml, b"<a>" + b"<b/>" * MOST_VALUES + b"</a>"),
        (parse_xml, b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>'),
        (parse_xml, b""),
    ],
    ids=lambda value: value[:12] if isinstance(value, (str, bytes)) else value.__name__,
)
def test_what_is_too_large_too_deep_or_expands_is_refused_in_time(parse, text, tmp_path):
    begin = time.process_time()
    with (
        pytest.raises(CalibrationError, match="side: the file cannot be read"),
        reading(tmp_path / "side", "the file", CalibrationError),
    ):
        parse(text)
    assert time.process_time() - begin < 8


def test_documents_within_the_bounds_are_read():
    nested = json.loads("[" * DEEPEST + "]" * DEEPEST)
    assert parse_json(json.dumps(nested).encode()) == nested
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert parse_toml("a.b.c = '1.2.3.4.5.6.7.8.9.10.11.12.13.14.15'") == {
        "a": {"b": {"c": "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15"}}
    }
    root = parse_xml(b'<?xml version="1.0"?><x:a b="1"> t <c>2</c> u <c/></x:a>')
    assert (root.name, root.attributes, root.text) == ("x:a", {"b": "1"}, "t  u")
    assert root.child("c").text == "2"
    assert len(list(root.all("c"))) == 2
    assert root.child("d") is None


@pytest.mark.parametrize(
    "failure",
    [
        ValueError("bad\n  thing"),
        OverflowError("too large"),
        RecursionError(),
        MemoryError(),
        KeyError("fx"),
        AttributeError("no attribute"),
        NotImplementedError(),
        FileNotFoundError(2, "No such file or directory"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=repr,
)
def test_any_exception_becomes_one_error_that_names_the_file(failure, tmp_path):
    with pytest.raises(PoseError) as caught, reading(tmp_path / "a.txt", "the poses", PoseError, "do this"):
        raise failure
    assert caught.value.message.startswith(f"{tmp_path / 'a.txt'}: the poses cannot be read: ")
    assert "\n" not in caught.value.message
    assert caught.value.hint == "do this"


def test_a_deliberate_error_keeps_its_kind_and_gains_the_name(tmp_path):
    with pytest.raises(UsageError) as caught, reading(tmp_path / "a.txt", "it", PoseError):
        raise UsageError("no", hint="way out", code="WORD")
    assert str(caught.value) == f"WORD: {tmp_path / 'a.txt'}: no. hint: way out"


def test_large_files_and_pipes_are_refused_before_they_are_read(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    assert len(read_bytes(tmp_path / "a", 100)) == 100
    with pytest.raises(ValueError, match="larger than"):
        read_bytes(tmp_path / "a", 99)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        read_bytes(tmp_path / "pipe")
    assert bounded_files.SIDE_FILE_BYTES <= 32 * bounded_files.MEGABYTE
