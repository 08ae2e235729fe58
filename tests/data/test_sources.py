"""A changed source file is another dataset, whatever its size and times say."""

import os
import time

import pytest

from data import sources
from data.sources import source_fingerprint


@pytest.fixture(autouse=True)
def _own_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIQUOT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def masks(tmp_path):
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        file.write_text("12345")
        os.utime(file, ns=(10**18, 10**18))
    return files


def rewrite(file, text):
    """Other content of the same size under the same time of writing."""
    before = file.stat()
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_names_contents_and_decoding_count_but_not_the_order_and_times(masks):
    a, b = masks
    first = source_fingerprint([a, b], 1.0)
    assert first == source_fingerprint(iter([b, a]), 1.0)
    os.utime(a, ns=(10**18, 10**18 + 1))
    assert source_fingerprint([a, b], 1.0) == first, "a copy of a dataset is the same dataset"
    assert len({first, source_fingerprint([a, b], 0.5), source_fingerprint([a], 1.0)}) == 3
    b.rename(b.with_name("c.png"))
    assert source_fingerprint([a, b.with_name("c.png")], 1.0) != first


@pytest.mark.parametrize("settled", [0, 10**18], ids=["remembered", "read"])
def test_equal_size_and_restored_time_are_no_equal_content(masks, settled, monkeypatch):
    monkeypatch.setattr(sources, "SETTLED", settled)
    first = source_fingerprint(masks)
    assert source_fingerprint(masks) == first
    time.sleep(0.02)  # the time of a change has a resolution of some ms
    rewrite(masks[1], "12354")
    assert source_fingerprint(masks) != first


def test_what_is_remembered_is_not_read_again(masks, monkeypatch):
    monkeypatch.setattr(sources, "SETTLED", 0)
    first, read = source_fingerprint(masks), []
    real = type(masks[0]).read_bytes
    monkeypatch.setattr(type(masks[0]), "read_bytes", lambda file: (read.append(file), real(file))[1])
    assert source_fingerprint(masks) == first and read == []


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xfe", b"[1]", None])
def test_a_damaged_memory_is_read_anew(masks, monkeypatch, tmp_path, damage):
    monkeypatch.setattr(sources, "SETTLED", 0)
    first = source_fingerprint(masks)
    (memory,) = (tmp_path / "cache" / "sources").iterdir()
    text = memory.read_bytes()
    digest = next(line for line in text.decode().split('"') if len(line) == 16).encode()
    memory.write_bytes(text.replace(digest, digest[::-1]) if damage is None else damage)
    assert source_fingerprint(masks) == first


def test_a_large_file_counts_by_its_time(masks, monkeypatch):
    monkeypatch.setattr(sources, "SMALL", 4)
    first = source_fingerprint(masks)
    os.utime(masks[0], ns=(10**18, 10**18 + 1))
    assert source_fingerprint(masks) != first


def test_a_cache_that_cannot_be_written_costs_only_time(masks, monkeypatch, tmp_path):
    first = source_fingerprint(masks)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALIQUOT_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(sources, "SETTLED", 0)
    assert source_fingerprint(masks) == first
