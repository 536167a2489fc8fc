"""Damage behind what finds damage: members of an archive with right checksums, content with the right hash.

Whoever writes a file on purpose writes these right, so that everything else must be checked as well.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib

import numpy as np
from safetensors.numpy import load, save

from eie.compiler import program_file
from eie.formats import hashed
from eie.importers import coded, stored


def deep(name, data, damage, draw):
    """Return a file whose outer checks are right again after ``damage(bytes)`` of a part of it; None if it has none."""
    if name.startswith("program"):
        return _program(data, damage, draw)
    if name.startswith("net.") and name.endswith("safetensors"):
        return save(_signed(load(data), stored.KEY, damage, draw))
    if name in ("net.npz", "trace.npz"):
        with np.load(io.BytesIO(data)) as file:
            arrays = dict(file)
        buffer = io.BytesIO()
        np.savez(buffer, **_signed(arrays, "header" if name == "trace.npz" else stored.KEY, damage, draw))
        return buffer.getvalue()
    if name.endswith(".eie"):
        return _coded(data, damage, draw)
    if name.endswith(".safetensors"):
        return _safetensors(data, damage, draw)
    return _archive(data, damage, draw) if zipfile.is_zipfile(io.BytesIO(data)) else None


def resigned(name, data):
    """Return the file of one of eie's own formats with ``data``, safetensors bytes, for its content."""
    arrays = load(data)
    if name.endswith(".eie"):
        return coded._signed(save(arrays, {coded.KEY: f"schema {coded.SCHEMA}, sha256 {'0' * 64}"}))
    if name.startswith("program"):
        header = json.loads(_header(data)["__metadata__"]["eie"])
        return _signed_program(arrays, header)
    key = "header" if name == "trace.npz" else stored.KEY
    header = json.loads(arrays[key].tobytes())
    header.pop("content_hash", None)
    header["content_hash"] = hashed._digest(arrays, key, header)
    arrays[key] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    if name.endswith(".safetensors"):
        return save(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _header(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])


def _archive(data, damage, draw):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as out:
        names = archive.namelist()
        chosen = draw.choice(names)
        for name in names:
            content = archive.read(name)
            out.writestr(name, damage(content) if name == chosen and content else content)
    return buffer.getvalue()


def _safetensors(data, damage, draw):
    length = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + length], data[8 + length :]
    if draw.random() < 0.5:
        header = damage(header)
    else:
        body = _same_length(body, damage)
    return len(header).to_bytes(8, "little") + header + body


def _same_length(content, damage):
    """Damage that keeps the length, so that what lies behind keeps its place."""
    return damage(content)[: len(content)].ljust(len(content), b"\0")


def _array(array, damage, draw):
    """Other bytes of the same shape, another shape, or another type."""
    how = draw.randrange(4)
    if how == 0 or not array.size:
        return array.reshape(-1)[: draw.randrange(array.size + 1)]
    if how == 1:
        return array.astype(draw.choice([np.float64, np.int16, np.uint32, np.uint8, np.bool_]))
    changed = np.frombuffer(_same_length(array.tobytes(), damage), array.dtype)
    return changed.reshape(array.shape)


def _text(header, damage):
    """A header with damage that leaves it JSON, where that can be had."""
    content = json.dumps(header).encode()
    for _ in range(20):
        changed = damage(content)
        try:
            value = json.loads(changed)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return header


def _program(data, damage, draw):
    arrays = load(data)
    header = json.loads(_header(data)["__metadata__"]["eie"])
    if draw.random() < 0.5:
        header = _text(header, damage)
    else:
        name = draw.choice(sorted(arrays))
        arrays[name] = np.ascontiguousarray(_array(arrays[name], damage, draw))
    return _signed_program(arrays, header)


def _signed_program(arrays, header):
    # The versions that compiled it are no part of the hash.
    header = {key: value for key, value in header.items() if key not in ("content_hash", "versions")}
    return save(arrays, {"eie": json.dumps({**header, "content_hash": program_file.digest(arrays, header)})})


def _signed(arrays, key, damage, draw):
    header = json.loads(arrays[key].tobytes())
    header.pop("content_hash", None)
    if draw.random() < 0.5:
        header = _text(header, damage)
        header.pop("content_hash", None)
    else:
        name = draw.choice(sorted(set(arrays) - {key}))
        arrays[name] = np.ascontiguousarray(_array(arrays[name], damage, draw))
    header["content_hash"] = hashed._digest(arrays, key, header)
    return {**arrays, key: np.frombuffer(json.dumps(header).encode(), np.uint8)}


def _coded(data, damage, draw):
    arrays = load(data)
    if draw.random() < 0.5:
        text = _text(json.loads(zlib.decompress(arrays["network"].tobytes())), damage)
        arrays["network"] = np.frombuffer(zlib.compress(json.dumps(text).encode()), np.uint8)
    else:
        name = draw.choice(sorted(arrays))
        arrays[name] = np.ascontiguousarray(_array(arrays[name], damage, draw))
    unsigned = {coded.KEY: f"schema {coded.SCHEMA}, sha256 {'0' * 64}"}
    return coded._signed(save(arrays, unsigned))
