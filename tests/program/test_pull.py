"""gpumcp pull against a hub of the test's own: what comes, how it is checked, and how it goes on after a break."""

import json
import os
import pathlib
import signal
import subprocess
import threading

import client
import pytest
from conftest import BIN
from fake_hub import Hub

OK, USAGE, UNREACHABLE, REFUSED, INTERRUPTED = 0, 1, 4, 5, 130
WEIGHTS = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
def hub():
    made = Hub()
    made.files = {
        "config.json": b'{"model_type": "bert"}', "tokenizer.json": b"{}", "model.safetensors": WEIGHTS,
        "1_Pooling/config.json": b"{}", "README.md": b"words", "pytorch_model.bin": b"pickle",
        "onnx/config.json": b"{}", "model.fp16.safetensors": b"x", "vocab.txt": b"a\n",
    }
    made.large = {"model.safetensors"}
    yield made
    made.close()


@pytest.fixture
def pull(world, hub, tmp_path):
    def run(*arguments, **env):
        env = {"GPUMCP_CACHE": str(tmp_path), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"),
               "HF_TOKEN": "", "no_proxy": "127.0.0.1", **env}
        return world.run("pull", *(arguments or ("org/name",)), env=env)

    run.place = tmp_path / "models/org--name"
    run.cache = tmp_path
    return run


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.name != ".gpumcp-pull.json"}


def check_whole(pull, hub):
    wanted = ("config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json", "vocab.txt")
    assert files_of(pull.place) == {path: hub.files[path] for path in wanted}
    assert os.listdir(pull.cache / "models") == ["org--name"]
    assert not (pull.cache / "pull/org--name").exists(), "nothing is left over"


def test_pull_brings_what_gpumcp_reads_and_nothing_else(pull, hub):
    done = pull()
    assert done.returncode == OK, done.stderr
    assert done.stdout.strip() == str(pull.place)
    check_whole(pull, hub)
    assert hub.asked("pytorch_model.bin") == hub.asked("README.md") == []
    listed = json.loads((pull.place / ".gpumcp-pull.json").read_text())
    assert listed["revision"] == hub.revision


def test_a_second_pull_fetches_nothing(pull, hub):
    pull()
    hub.requests.clear()
    done = pull()
    assert done.returncode == OK and "up to date" in done.stderr
    assert len(hub.requests) == 1, "only the listing"


def test_a_new_revision_replaces_the_old(pull, hub):
    pull()
    hub.revision = "f" * 40
    hub.files["vocab.txt"] = b"b\n"
    hub.files["tokenizer.json"] = b'{"new": 1}'
    assert pull().returncode == OK
    check_whole(pull, hub)


def test_a_broken_connection_is_gone_on_with(pull, hub):
    hub.break_after["model.safetensors"] = 1_000_000
    done = pull()
    assert done.returncode == OK, done.stderr
    check_whole(pull, hub)
    ranges = [asked for where, asked in hub.asked("model.safetensors") if where == "cdn"]
    assert ranges == [None, "bytes=1000000-"]


def test_a_host_without_ranges_begins_again(pull, hub):
    hub.break_after["model.safetensors"] = 1_000_000
    hub.ranges = False
    assert pull().returncode == OK
    check_whole(pull, hub)


def test_an_interrupted_pull_keeps_what_came_and_goes_on(pull, hub, world):
    hub.hold = threading.Event()
    env = {**world.env, "GPUMCP_CACHE": str(pull.cache), "HF_ENDPOINT": hub.url, "no_proxy": "127.0.0.1"}
    process = subprocess.Popen([str(BIN), "pull", "org/name"], env=env, stderr=subprocess.PIPE, text=True)
    part = pull.cache / "pull/org--name" / hub.revision / "model.safetensors.part"
    client.wait_until(lambda: part.exists() and part.stat().st_size > 0, 20, "half of the weights came")
    process.send_signal(signal.SIGINT)
    hub.hold.set()
    assert process.wait(20) == INTERRUPTED
    hub.hold = None
    assert not pull.place.exists()
    size = part.stat().st_size
    assert size > 0
    hub.requests.clear()
    assert pull().returncode == OK
    check_whole(pull, hub)
    if size < len(WEIGHTS):
        assert ("cdn", f"bytes={size}-") in hub.asked("model.safetensors")
    assert hub.asked("tokenizer.json") == [], "what was whole is not fetched again"


@pytest.mark.parametrize("path, word", [("model.safetensors", "sha256"), ("tokenizer.json", "git id")])
def test_a_damaged_file_is_refused_and_removed(pull, hub, path, word):
    hub.files["tokenizer.json"] = b'{"a": 1}'
    hub.damage = {path}
    done = pull()
    assert done.returncode == REFUSED
    assert path in done.stderr and word in done.stderr
    assert not pull.place.exists()
    hub.damage = set()
    assert pull().returncode == OK
    check_whole(pull, hub)


def test_the_token_goes_to_the_hub_and_not_to_the_host_it_redirects_to(pull, hub):
    hub.token = "hf_secret"
    done = pull()
    assert done.returncode == REFUSED and "HF_TOKEN" in done.stderr and "licence" in done.stderr
    hub.requests.clear()
    assert pull(HF_TOKEN="hf_secret").returncode == OK
    for where, url, headers in hub.requests:
        assert (headers.get("Authorization") == "Bearer hf_secret") == (where == "hub"), url
    (pull.cache / "hf").mkdir()
    (pull.cache / "hf/token").write_text("hf_secret\n")
    assert pull(HF_TOKEN="").returncode == OK, "the token that `hf auth login` keeps"


def test_names_that_lead_out_are_passed_over(pull, hub):
    hub.extra_siblings = [{"rfilename": name, "size": 1} for name in
                          ("../evil.json", "/etc/evil.json", "a/../../evil.json", ".hidden.json", "x/y/z.json", 5, None)]
    hub.extra_siblings.append("no object")
    assert pull().returncode == OK
    check_whole(pull, hub)
    assert not list(pull.cache.rglob("*evil*"))


@pytest.mark.parametrize("change, status, says", [
    (lambda hub: hub.files.pop("model.safetensors"), REFUSED, "pytorch_model.bin"),
    (lambda hub: hub.files.pop("config.json"), REFUSED, "config.json"),
    (lambda hub: hub.status.update({"tokenizer.json": 403}), UNREACHABLE, "403"),
    (lambda hub: hub.files.update({"model.safetensors": b""}), OK, ""),
])
def test_what_the_hub_lacks_is_said(pull, hub, change, status, says):
    change(hub)
    done = pull()
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert pull.place.exists() == (status == OK)


def test_unknown_models_bad_names_and_hubs_that_are_not_there(pull, hub):
    done = pull("org/other")
    assert done.returncode == REFUSED and "org/other" in done.stderr
    done = pull("../../etc")
    assert done.returncode == USAGE and "model name" in done.stderr
    done = pull(HF_ENDPOINT="ftp://nowhere")
    assert done.returncode == USAGE and "HF_ENDPOINT" in done.stderr
    done = pull(HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == UNREACHABLE and "127.0.0.1:9" in done.stderr


def test_a_folder_that_was_not_pulled_stays_unless_forced(pull, hub):
    pull.place.mkdir(parents=True)
    (pull.place / "mine").write_text("mine")
    done = pull()
    assert done.returncode == REFUSED and "--force" in done.stderr
    assert (pull.place / "mine").exists()
    assert pull("org/name", "--force").returncode == OK
    check_whole(pull, hub)


def test_two_pulls_at_once_leave_one_whole_model(pull, hub):
    results = []
    threads = [threading.Thread(target=lambda: results.append(pull())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in results] == [OK] * 3, [done.stderr for done in results]
    assert pathlib.Path(pull.place / "model.safetensors").read_bytes() == WEIGHTS
    assert len([1 for where, _ in hub.asked("model.safetensors") if where == "cdn"]) == 1


def test_the_weights_come_over_tls_when_the_machine_trusts_the_hub(pull, hub, tmp_path, world):
    """With a certificate that nobody vouches for it is refused; with SSL_CERT_FILE it is taken."""
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], capture_output=True)
    if made.returncode != 0:
        pytest.skip("no openssl program")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    hub.servers[0].socket = context.wrap_socket(hub.servers[0].socket, server_side=True)
    url = f"https://localhost:{hub.servers[0].server_address[1]}"
    done = pull(HF_ENDPOINT=url)
    assert done.returncode == UNREACHABLE and "SSL_CERT_FILE" in done.stderr
    done = pull(HF_ENDPOINT=url, SSL_CERT_FILE=str(certificate))
    assert done.returncode == OK, done.stderr
    check_whole(pull, hub)
