"""The factors of a version as NumPy has them, read from its folder in the store."""

import json
import os
import struct

import numpy as np

DTYPES = {"F32": np.float32, "U32": np.uint32}


def tensors(path):
    """The tensors of a safetensors file, mapped."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    data = np.memmap(path, np.uint8, "r", 8 + length)
    found = {}
    for name, about in header.items():
        if name != "__metadata__" and about["dtype"] in DTYPES:
            begin, end = about["data_offsets"]
            found[name] = data[begin:end].view(DTYPES[about["dtype"]]).reshape(about["shape"])
    return found


def factors(folder, side, shards=None):
    """The rows of a side, or of its first shards, that have training ratings."""
    rows = []
    for part in sorted(os.listdir(os.path.join(folder, side)))[:shards]:
        found = tensors(os.path.join(folder, side, part))
        rows.append(found["ranking"][found["train_counts"] > 0])
    return np.ascontiguousarray(np.concatenate(rows), dtype=np.float32)


def made_alike(rows):
    """Rows of the same directions and of length 1."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, np.finfo(np.float32).tiny)
