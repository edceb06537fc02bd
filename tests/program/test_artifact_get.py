"""GET /artifacts/ID, and parts of artifacts in resources/read, on the real MiniLM: the numbers that get_embedding tells of."""

import base64
import io

import client
import numpy
from client import call, request, text_of


def embed(front):
    result = front.call("get_embedding", {"text": "hello world"})
    assert not result.get("isError"), text_of(result)
    return result["structuredContent"]


def array(data):
    return numpy.load(io.BytesIO(data))


def test_an_artifact_is_fetched_whole_and_in_parts(world):
    http = world.serve_http()
    value = embed(http)
    path = value["uri"].removeprefix("gpumcp:/")
    assert path.startswith("/artifacts/")
    whole = http.send("GET", path)
    assert (whole.status, whole.type) == (200, "application/x-npy")
    numbers = array(whole.body)
    assert numbers.shape == (384,)
    assert numpy.allclose(numbers[:10], value["preview"], rtol=1e-6)
    part = http.send("GET", path + "?slice=3:7")
    assert part.status == 200 and numpy.array_equal(array(part.body), numbers[3:7])
    tensors = http.send("GET", path + "?format=safetensors")
    assert tensors.status == 200 and tensors.body[8:9] == b"{" and len(tensors.body) > 384 * 4


def test_resources_read_takes_parts_too(world):
    front = world.serve()
    value = embed(front)
    numbers = array(base64.b64decode(front.read_resource(value["uri"])["blob"]))
    part = front.read_resource(value["uri"] + "?slice=3:7")
    assert numpy.array_equal(array(base64.b64decode(part["blob"])), numbers[3:7])
    reply = front.ask(request(9, "resources/read", {"uri": value["uri"] + "?slice=900:"}))
    assert "error" in reply or reply["result"]["contents"], "a part beyond the end is empty or refused, never a crash"
    reply = front.ask(request(10, "resources/read", {"uri": value["uri"] + "?slice=x"}))
    assert "slice" in reply["error"]["message"]


def test_what_is_not_there_is_404_and_strangers_get_nothing(world):
    token = world.folder / "token"
    token.write_text("sesame-0123456789abcdef\n")
    token.chmod(0o600)
    http = world.serve_http("--token-file", token)
    bearer = {"Authorization": "Bearer sesame-0123456789abcdef"}
    message = http.post(call(1, "get_embedding", {"text": "hello world"}), bearer).message()
    path = message["result"]["structuredContent"]["uri"].removeprefix("gpumcp:/")
    assert http.send("GET", path, headers=bearer).status == 200
    assert http.send("GET", path).status == 401
    assert http.send("GET", path, headers={**bearer, "Host": "evil.example"}).status == 403
    assert http.send("GET", path, headers={**bearer, "Origin": "https://evil.example"}).status == 403
    for other in ["/artifacts/" + "0" * 32, "/artifacts/x", "/artifacts/", "/artifacts/../../etc/passwd"]:
        assert http.send("GET", other, headers=bearer).status == 404, other
