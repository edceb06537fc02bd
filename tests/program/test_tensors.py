"""The interface tensors through a front and a worker, beside embeddings: what one tool keeps, another takes by its URI."""

import base64
import struct
import zlib

import numpy
import pytest
from client import text_of

TEXTS = ["a cat", "a dog", "a small kitten", "the stock market fell", "interest rates rose", "shares and bonds"]


@pytest.fixture(scope="module")
def front(shared_world):
    return shared_world.serve("embeddings", "tensors")


def value_of(result):
    assert not result.get("isError"), text_of(result)
    assert len(text_of(result).encode()) < 1024
    return result["structuredContent"]


def pixels_of(png):
    """The colour of each pixel, [height, width, 3], of a PNG with a palette and no filters."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        (length,) = struct.unpack(">I", png[at:at + 4])
        kind, data = png[at + 4:at + 8], png[at + 8:at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length:at + 12 + length])[0] == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (8, 3)
    rows = numpy.frombuffer(zlib.decompress(chunks[b"IDAT"]), numpy.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return numpy.frombuffer(chunks[b"PLTE"], numpy.uint8).reshape(-1, 3)[rows[:, 1:]]


def test_embeddings_become_clusters_and_a_picture_without_their_numbers_travelling(front):
    uri = value_of(front.call("get_embeddings", {"texts": TEXTS}))["uri"]
    clusters = value_of(front.call("cluster", {"tensor": uri, "k": 2}))
    labels = clusters["label_of_row"]
    assert labels[0] == labels[1] == labels[2] != labels[3] == labels[4] == labels[5]
    result = front.call("cosine", {"a": uri})
    value = value_of(result)
    result = front.call("plot_tensor", {"tensor": uri, "kind": "heatmap"})
    value_of(result)
    assert result["content"][1]["type"] == "image" and result["content"][1]["mimeType"] == "image/png"
    listed = value_of(front.call("list_artifacts", {}))
    assert listed["count"] >= 3 and uri in [one["uri"] for one in listed["artifacts"]]
    assert value["shape"] == [6, 6]


def test_a_heat_map_is_a_png_whose_colours_are_the_numbers(front):
    uri = value_of(front.call("get_embeddings", {"texts": TEXTS}))["uri"]
    part = value_of(front.call("slice_tensor", {"tensor": uri, "slice": "0:2,0:4"}))
    result = front.call("plot_tensor", {"tensor": part["uri"]})
    plot = value_of(result)
    picture = pixels_of(base64.b64decode(result["content"][1]["data"]))
    numbers = numpy.array(part["values"]).reshape(2, 4)
    assert plot["high"] == pytest.approx(abs(numbers).max(), rel=1e-5) and plot["low"] == -plot["high"]
    assert picture.shape == (160, 320, 3)
    for (row, column), number in numpy.ndenumerate(numbers):
        cell = picture[row * 80:(row + 1) * 80, column * 80:(column + 1) * 80].reshape(-1, 3)
        assert (cell == cell[0]).all()
        red, _, blue = (int(c) for c in cell[0])
        assert (red > blue) == (number > 0), f"{number} is drawn as {cell[0]}"
