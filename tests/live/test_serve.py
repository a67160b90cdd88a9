"""The live page: what the server computes, whom it answers, and what a reader does in the browser."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bokeh.client import pull_session
from sklearn.neighbors import NearestNeighbors

import torchviz_layers.live.serving as serving
from tests.browser import Tab, chromium, serious_violations, watched
from tests.pages import half_a_step, page_data, unpacked
from torchviz_layers import UMAP, Activations, Samples, embed
from torchviz_layers._common.arrays import CheckedRows
from torchviz_layers.cli import commands as cli
from torchviz_layers.exceptions import DataError, PageError, StoreError, TorchvizLayersError
from torchviz_layers.live.marks import Marks
from torchviz_layers.live.request import defaults, first_request, read_request, read_rows
from torchviz_layers.live.session import Site
from torchviz_layers.live.source import Source, open_source
from torchviz_layers.live.views import compute_view, find_neighbors
from torchviz_layers.page.live import live_page
from torchviz_layers.panels import compose

N = 60
RNG = np.random.default_rng(0)
TARGETS = np.arange(N) % 3
LAYERS = {
    name: (4 * np.eye(3)[TARGETS] @ RNG.normal(size=(3, width)) + RNG.normal(size=(N, width))).astype(np.float32)
    for name, width in (("hidden", 12), ("<b>output</b>", 5))
}
IDS = np.array([f"sample-{row:03d}" for row in range(N)])
OUTPUTS = np.eye(3, dtype=np.float32)[np.where(np.arange(N) < 4, (TARGETS + 1) % 3, TARGETS)] * 0.9 + 0.1 / 3
IMAGES = RNG.uniform(size=(N, 1, 8, 8)).astype(np.float32)
CLASSES = ("<img src=x onerror=alert(1)>", "one", "two")
SAMPLES = Samples.of((IMAGES, TARGETS), class_names=CLASSES, ids=IDS, name="made-up")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("store") / "acts.zarr"
    Activations(LAYERS, ids=IDS, targets=TARGETS, predictions=OUTPUTS).save(path)
    return path


@pytest.fixture(scope="module")
def source(store) -> Source:
    return open_source(store, SAMPLES)


def quiet(_text: str, _share: float | None) -> None:
    pass


def asked(**changes: Any) -> dict[str, Any]:
    ask = {"do": "embed", "of": "shown", "layers": ["hidden"], "reducer": "umap", "options": defaults("umap")}
    return ask | changes


# What is served


def test_a_store_alone_brings_layers_targets_answers_and_its_thumbnails(store, tmp_path):
    alone = open_source(store)
    assert list(alone.layers) == list(LAYERS)
    assert alone.pictures(np.arange(3)) is None
    np.testing.assert_array_equal(alone.targets, TARGETS)
    np.testing.assert_array_equal(alone.read("hidden", np.array([7, 3])), LAYERS["hidden"][[7, 3]])
    thumbnails = (255 * IMAGES).astype(np.uint8).transpose(0, 2, 3, 1)
    Activations(LAYERS, thumbnails=thumbnails).save(tmp_path / "pictures.zarr")
    pictures = open_source(tmp_path / "pictures.zarr").pictures(np.array([5, 2]))
    np.testing.assert_array_equal(pictures, (255 * IMAGES).astype(np.uint8)[[5, 2]])


def test_data_are_matched_by_id_and_bring_the_input_as_a_layer(store):
    order = np.random.default_rng(1).permutation(N)
    shuffled = open_source(store, SAMPLES[order])
    assert list(shuffled.layers) == ["input", *LAYERS]
    np.testing.assert_array_equal(shuffled.pictures(np.arange(N)), IMAGES)


def test_data_of_another_store_are_refused(store):
    others = Samples.of((IMAGES, (TARGETS + (np.arange(N) < 2)) % 3), ids=IDS, name="others")
    with pytest.raises(DataError, match=r"2 of 60 targets of others differ"):
        open_source(store, others)
    with pytest.raises(DataError, match=r"no sample 'sample-050' \(10 of the 60 ids"):
        open_source(store, SAMPLES[np.arange(50)])


def test_too_little_to_lay_out_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"4 samples of 1 layers; at least 5"):
        open_source(Activations({"a": np.zeros((4, 2))}))
    with pytest.raises(StoreError, match=r"nothing\.zarr"):
        open_source(tmp_path / "nothing.zarr")


# What is laid out


def test_a_selection_is_laid_out_as_the_library_does_it_for_these_rows(source):
    rows = np.arange(5, 45)
    layout = read_request(asked(layers=list(LAYERS), options={"n_neighbors": 8, "random_state": 3}), rows, source)
    whole = compute_view(source, first_request(source), None, quiet)
    html = compute_view(source, layout, whole, quiet).html
    direct = embed({name: X[rows] for name, X in LAYERS.items()}, reducer=UMAP(n_neighbors=8, random_state=3))
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', html, re.S)[1])
    for k, embedding in enumerate(direct.values()):
        text = re.search(rf'data-column="place-{k}" data-dtype="uint16" data-shape="40,2">([^<]*)<', html)[1]
        steps = unpacked("uint16", (40, 2), text)
        low, high = np.array([meta["panels"][k]["x"], meta["panels"][k]["y"]]).T
        np.testing.assert_allclose(low + steps / 32_766 * (high - low), embedding.Z, atol=half_a_step(embedding.Z))
    assert meta["ids"] == IDS[rows].tolist()


def test_a_selection_keeps_the_corner_cases_of_all_samples(source):
    whole = compute_view(source, first_request(source), None, quiet)
    rows = np.arange(2, 30)
    part = compute_view(source, read_request(asked(), rows, source), whole, quiet)
    cases = json.loads(re.search(r'id="meta">(.*?)</script>', part.html, re.S)[1])["cases"]
    assert {case["sample"] for case in cases} == {case.sample - 2 for case in whole.cases if case.sample in rows}
    assert {0, 1} <= {case["sample"] for case in cases}  # rows 2 and 3 are wrong
    told = "neighbours are those among them, the queue and its reasons use the neighbours among all samples"
    assert (told in part.html, told in whole.html) == (True, False)


def test_a_page_that_shows_a_part_still_names_every_sample_by_its_row_in_the_store():
    data = page_data(ids=np.array([f"id {row}" for row in range(300)]))
    composed = compose(data, lambda k: CheckedRows(data.panels[k].Z), corner_cases=(), max_samples=100)
    html = live_page(composed.data, 1000 + composed.rows, ("a", "b"))
    ids = json.loads(re.search(r'id="meta">(.*?)</script>', html, re.S)[1])["ids"]
    text = re.search(r'data-column="store-row" data-dtype="uint32" data-shape="100">([^<]*)<', html)[1]
    rows = unpacked("uint32", (100,), text)
    assert [f"id {row - 1000}" for row in rows] == ids
    assert set(range(1000, 1025)) <= set(rows.tolist())  # the errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ["hiden"]}, "'hiden' is none of the store's"),
        ({"layers": []}, "choose at least one"),
        ({"layers": "hidden"}, "a list of names"),
        ({"reducer": "umapp"}, "'umapp' is unknown"),
        ({"reducer": ["umap"]}, r"\['umap'\] is unknown"),
        ({"options": {"n_neighbors": 1}}, "n_neighbors: 1 is not a whole number from 2 to 500"),
        ({"options": {"n_neighbors": 3.5}}, "n_neighbors: 3.5"),
        ({"options": {"n_neighbors": True}}, "n_neighbors: True"),
        ({"options": {"min_dist": "near"}}, "min_dist: 'near'"),
        ({"options": {"min_dist": float("nan")}}, "min_dist: nan"),
        ({"options": {"metric": "__import__"}}, "'__import__' is none of euclidean"),
        ({"options": {"random_state": -1}}, "random_state: -1"),
    ],
)
def test_what_a_browser_asks_for_is_checked(source, changes, message):
    with pytest.raises(TorchvizLayersError, match=message):
        read_request(asked(**changes), np.arange(N), source)


def test_rows_are_checked_sorted_and_taken_once(source):
    assert read_rows([7, 3, 7], source).tolist() == [3, 7]
    for wrong in ([N], [-1], [1.0], [True], "3", None):
        with pytest.raises(PageError, match="rows"):
            read_rows(wrong, source)
    with pytest.raises(PageError, match="4 samples are too few to embed: select at least 5"):
        read_request(asked(), np.arange(4), source)


@pytest.mark.parametrize("layer", list(LAYERS))
def test_neighbours_on_demand_are_scikit_learns(source, layer):
    found = find_neighbors(source, 17, layer, 9)["items"]
    distances, rows = NearestNeighbors(n_neighbors=10).fit(LAYERS[layer]).kneighbors(LAYERS[layer][17:18])
    assert [item["row"] for item in found] == rows[0, 1:].tolist()
    np.testing.assert_allclose([float(item["distance"]) for item in found], distances[0, 1:], rtol=1e-3)
    assert [item["wrong"] for item in found] == (TARGETS[rows[0, 1:]] != TARGETS[17]).tolist()


@pytest.mark.parametrize(
    ("layer", "k", "message"), [("x", 3, "'x' is none"), ("hidden", 60, "from 1 to 59"), ("hidden", "3", "'3'")]
)
def test_neighbours_that_cannot_be_are_refused(source, layer, k, message):
    with pytest.raises(TorchvizLayersError, match=message):
        find_neighbors(source, 0, layer, k)


# Marks


def test_marks_are_saved_and_read_again_with_what_others_wrote_meanwhile(tmp_path):
    path = tmp_path / "deep" / "marks.json"
    mine, theirs = Marks(path), Marks(path)
    mine.put([3, "a"], " suspect ", "looks like a 9")
    theirs.put([4], "hard")
    mine.put([3], "")
    assert {mark.id: (mark.label, mark.note) for mark in Marks(path)} == {
        "a": ("suspect", "looks like a 9"),
        4: ("hard", ""),
    }
    assert [file.name for file in path.parent.iterdir()] == ["marks.json"]


@pytest.mark.parametrize(
    "text", ["hello", "[]", '{"format": 2, "marks": []}', '{"format": 1, "marks": [{"id": null}]}']
)
def test_a_file_that_holds_no_marks_is_left_as_it_is(tmp_path, text):
    path = tmp_path / "marks.json"
    path.write_text(text)
    with pytest.raises(PageError, match=r"marks\.json holds no marks"):
        Marks(path)
    assert path.read_text() == text


def test_marks_that_cannot_be_written_change_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PageError, match="cannot be read"):
        Marks(tmp_path / "file" / "marks.json")
    marks = Marks(tmp_path / "marks.json")
    with pytest.raises(PageError, match="a label of 61 characters"):
        marks.put([1], 61 * "x")
    assert list(marks) == []


# The server


@dataclass
class Live:
    url: str
    site: Site
    marks: Path

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://").removesuffix("/")


@contextmanager
def running(source: Source, marks: Path, **options: Any) -> Iterator[Live]:
    """Yield a server that runs in a thread of its own, and end it."""
    site = Site(source, Marks(marks))
    addresses: list[str] = []
    up = threading.Event()
    ends: list[Any] = []

    async def main() -> None:
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(ending.set))

        def started(url: str) -> None:
            addresses.append(url)
            up.set()

        await serving.serving(site, port=0, address="localhost", started=started, ending=ending, **options)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert up.wait(20)
    try:
        yield Live(addresses[0], site, marks)
    finally:
        ends[0]()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def live(source, tmp_path_factory):
    with running(source, tmp_path_factory.mktemp("marks") / "marks.json") as server:
        yield server


def wait_for(condition: Any, seconds: float = 30) -> Any:
    """Return what `condition` does once it is true; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value


class Visitor:
    """A session without a browser: it asks through Bokeh's client, and reads what the server's side says."""

    def __init__(self, live: Live) -> None:
        known = list(live.site.sessions)
        self.client = pull_session(url=live.url)
        self.asked = 0
        (self.session,) = [session for session in live.site.sessions if session not in known]

    def ask(self, **what: Any) -> None:
        self.asked += 1
        channel = self.client.document.get_model_by_name("channel")
        channel.ask = json.dumps({"n": self.asked, **what})
        self.client.force_roundtrip()

    def read(self, name: str) -> Any:
        text = getattr(self.session.channel, name)
        return json.loads(text) if text else None

    def status(self) -> dict[str, Any]:
        return wait_for(lambda: (status := self.read("status")) and not status["busy"] and status)


@contextmanager
def visiting(live: Live) -> Iterator[Visitor]:
    visitor = Visitor(live)
    try:
        assert not live.site.sessions[-1].channel.status  # nothing is computed for a page that has not come
        visitor.ask(do="begin")
        visitor.status()
        yield visitor
    finally:
        visitor.client.close()


def handshake(live: Live, origin: str) -> int:
    """HTTP status of a websocket's handshake with the session of a page just fetched."""
    with urllib.request.urlopen(live.url) as answer:
        token = re.search(r'"token":"([^"]+)"', answer.read().decode())[1]
    head = [
        "GET /ws HTTP/1.1",
        f"Host: {live.host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Sec-WebSocket-Protocol: bokeh, {token}",
        f"Origin: {origin}",
    ]
    with socket.create_connection(("localhost", int(live.host.rpartition(":")[2])), timeout=20) as connection:
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        return int(connection.recv(100).split()[1])


def test_pages_of_others_are_refused(live):
    port = live.host.rpartition(":")[2]
    own = [f"http://localhost:{port}", f"http://127.0.0.1:{port}"]
    foreign = [
        "https://example.org",
        f"http://example.org:{port}",
        "http://localhost:1",
        f"http://localhost.evil:{port}",
        "null",
    ]
    assert [handshake(live, origin) for origin in own] == [101, 101]
    assert [handshake(live, origin) for origin in foreign] == 5 * [403]


def test_other_origins_are_let_in_only_by_name(source, tmp_path):
    with running(source, tmp_path / "m.json", allow_origins=["lab.example", "other.example:8080"]) as live:
        port = live.host.rpartition(":")[2]
        names = [f"http://lab.example:{port}", "http://lab.example", "http://other.example:8080"]
        assert [handshake(live, origin) for origin in names] == [101, 101, 101]
        assert handshake(live, f"http://other.example:{port}") == 403


def test_by_default_only_this_machine_reaches_it():
    sockets, _ = serving._bound(0, "localhost")
    try:
        assert {each.getsockname()[0] for each in sockets} <= {"127.0.0.1", "::1"}
    finally:
        for each in sockets:
            each.close()


def test_marks_that_could_not_be_written_are_refused_before_the_page_is_up(store, tmp_path, monkeypatch):
    def refused(dir):  # stands for a mode of the folder, which root would not be held by
        assert dir == tmp_path / "new"
        raise PermissionError(13, "Permission denied")

    def started(url):
        pytest.fail(f"it serves {url}")

    (tmp_path / "file").write_text("")
    said = r"marks: nothing can be written into {} \({}\); give another file \(--marks\)"
    with pytest.raises(PageError, match=said.format(tmp_path / "file", "File exists")):
        serving.serve(store, marks=tmp_path / "file" / "m.json", port=0, started=started)
    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(PageError, match=said.format(tmp_path / "new", "Permission denied")):
        serving.serve(store, marks=tmp_path / "new" / "m.json", port=0, started=started)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Tornado leaves its socket unclosed
def test_a_port_or_an_address_that_cannot_be_had_is_named_with_the_way_out(store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PageError, match=f"port {port} of 127.0.0.1 is taken; give another one, or 0"):
            serving.serve(store, port=port, address="127.0.0.1")
    with pytest.raises(PageError, match=r"'no\.such\.invalid' is none of this machine's"):
        serving.serve(store, address="no.such.invalid", port=0)
    with pytest.raises(PageError, match="'http://x' is not HOST"):
        serving.serve(store, allow_origins=["http://x"], port=0)


def test_a_second_request_while_one_runs_is_refused_and_the_first_is_done(live, monkeypatch):
    go_on = threading.Event()

    def when_told(*arguments: Any) -> Any:
        assert go_on.wait(20)
        return compute_view(*arguments)

    with visiting(live) as visitor:
        monkeypatch.setattr("torchviz_layers.live.session.compute_view", when_told)
        visitor.ask(**asked(options={"random_state": 11}))
        visitor.ask(**asked(options={"random_state": 12}))
        assert "still computing" in wait_for(lambda: visitor.read("status")["error"])
        assert visitor.read("status")["busy"]
        go_on.set()
        assert visitor.status()["error"] is None
        assert visitor.read("settings")["options"]["random_state"] == 11


def test_pca_is_shown_first_and_umap_takes_its_place(source, tmp_path, monkeypatch):
    go_on = threading.Event()
    compute = compute_view

    def waiting(source: Any, request: Any, within: Any, report: Any) -> Any:
        if request.reducer == "umap":
            report("umap of hidden", 0.5)
            assert go_on.wait(20)
        return compute(source, request, within, report)

    monkeypatch.setattr("torchviz_layers.live.session.compute_view", waiting)
    with running(source, tmp_path / "marks.json") as server:
        visitor = Visitor(server)
        visitor.ask(do="begin")
        wait_for(lambda: visitor.read("view"))
        assert visitor.read("settings")["reducer"] == "pca"
        wait_for(lambda: visitor.read("status")["text"].startswith("PCA is shown; umap"))
        first = visitor.session.channel.page
        go_on.set()
        assert visitor.status()["error"] is None
        assert visitor.read("settings")["reducer"] == "umap"
        assert visitor.session.channel.page != first
        assert len(visitor.read("view")["trail"]) == 1
        visitor.client.close()


def test_a_computation_that_is_stopped_leaves_what_was_shown(live, monkeypatch):
    steps: list[float] = []

    def endless(_source: Any, _layout: Any, _within: Any, tell: Any) -> None:
        while True:
            tell("at it", 0.5)
            steps.append(time.monotonic())
            time.sleep(0.01)

    with visiting(live) as visitor:
        before = visitor.read("settings")
        monkeypatch.setattr("torchviz_layers.live.session.compute_view", endless)
        visitor.ask(**asked(options={"random_state": 21}))
        wait_for(lambda: visitor.read("status")["text"] == "at it")
        visitor.ask(do="stop")
        assert visitor.status()["text"] == "stopped"
        assert visitor.read("settings") == before
        ended = len(steps)
        time.sleep(0.1)
        assert len(steps) == ended


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"do": "nonsense"}, "does not know"),
        ({"do": "show", "at": 5}, "a view that no longer exists"),
        ({"do": "embed", "of": "rows", "rows": [10**9]}, "does not have"),
        ({"do": "neighbors", "row": 1, "layer": "x", "k": 3}, "none of the store's"),
        ({"do": "mark", "rows": [1], "label": 3, "note": ""}, "a label and a note"),
    ],
)
def test_errors_are_said_and_the_session_goes_on(live, ask, message):
    with visiting(live) as visitor:
        visitor.ask(**ask)
        assert message in wait_for(lambda: visitor.status()["error"])
        visitor.ask(do="neighbors", row=3, layer="hidden", k=2)
        wait_for(lambda: visitor.read("near"))
        assert visitor.status()["error"] is None


def test_what_breaks_unexpectedly_is_said_too(live, monkeypatch, caplog):
    monkeypatch.setattr("torchviz_layers.live.session.find_neighbors", lambda *_: 1 // 0)
    with visiting(live) as visitor:
        visitor.ask(do="neighbors", row=3, layer="hidden", k=2)
        assert "ZeroDivisionError" in wait_for(lambda: visitor.status()["error"])
    assert "ZeroDivisionError" in caplog.text


def test_two_sessions_do_not_disturb_each_other_but_share_the_marks(live):
    with visiting(live) as one, visiting(live) as two:
        before = two.read("settings")
        one.ask(**asked(of="rows", rows=list(range(20)), options={"n_neighbors": 6}))
        one.status()
        assert [step["label"] for step in one.read("view")["trail"]] == ["All 60", "20 selected"]
        assert [step["label"] for step in two.read("view")["trail"]] == ["All 60"]
        assert two.read("settings") == before
        one.ask(do="mark", rows=[5], label="suspect", note="why")
        marks = wait_for(lambda: two.read("marks"))
        assert marks == [{"row": 5, "label": "suspect", "note": "why"}]
        one.ask(do="mark", rows=[5], label="", note="")
        wait_for(lambda: two.read("marks") == [])


def test_a_closed_tab_frees_its_session(source, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "_UNUSED_MS", 100)
    monkeypatch.setattr(serving, "_CHECK_MS", 100)
    with running(source, tmp_path / "m.json") as live:
        with visiting(live):
            assert len(live.site.sessions) == 1
        wait_for(lambda: not live.site.sessions)


# The command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.zarr"], r"nothing\.zarr: no stored activations there"),
        (["STORE", "--data", "digits"], r"digits has no sample 'sample-000'"),
        (["STORE", "--marks", "STORE/zarr.json"], r"zarr\.json holds no marks"),
        (["STORE", "--port", "0", "--address", "no.such.invalid"], r"'no\.such\.invalid' is none of this machine's"),
    ],
)
def test_wrong_input_is_one_line_that_names_it(store, words, message, monkeypatch, capsys):
    arguments = [word.replace("STORE", str(store)) for word in words]
    monkeypatch.setattr(sys, "argv", ["torchviz-layers", "serve", *arguments, "--no-browser"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert len(err.strip().splitlines()) == 1


def test_ctrl_c_ends_the_command_cleanly_in_the_middle_of_a_layout(store):
    command = [sys.executable, "-m", "torchviz_layers", "serve", str(store), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            url = next(line for line in server.stdout if line.startswith("http")).strip()
            visitor = pull_session(url=url)
            visitor.document.get_model_by_name("channel").ask = json.dumps({"n": 1, "do": "begin"})
            visitor.force_roundtrip()
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
            assert server.stderr.read() == ""
        finally:
            server.kill()


# In the browser


class LiveTab(Tab):
    """A tab whose page is inside the frame of the live page."""

    source = ""

    @property
    def frame(self) -> Any:
        return self.page.frames[-1]

    def js(self, script: str, argument: Any = None) -> Any:
        return self.frame.evaluate(script, argument)

    def place(self, figure: str, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator("iframe").bounding_box()
        left, top = super().place(figure, x, y)
        return left + box["x"], top + box["y"]

    def wait(self, step: int) -> None:
        """Wait until a page is shown that was not there before, at this step of the trail."""
        self.source = self.page.wait_for_function(
            """([step, before]) => { const frames = [...document.querySelectorAll("iframe")];
            const trail = [...document.querySelectorAll("#trail button")];
            return document.documentElement.dataset.busy === "false" && frames.length === 1
            && !frames[0].matches(".coming") && frames[0].src !== before
            && trail[step - 1]?.ariaCurrent === "true" && frames[0].src; }""",
            arg=[step, self.source],
            timeout=60_000,
        ).json_value()
        self.frame.wait_for_selector("html[data-ready=true]", state="attached")
        self.settle()


@contextmanager
def opened(browser: Any, live: Live, size: tuple[int, int] = (1440, 900), scheme: str = "light") -> Iterator[LiveTab]:
    with watched(browser, size, scheme, LiveTab, offline=False) as tab:
        tab.page.goto(live.url)
        tab.wait(step=1)
        yield tab
        leaving = [url for url in tab.requests if not url.startswith((live.url, "blob:", "data:"))]
        assert (tab.complaints, leaving) == ([], [])


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.mark.browser
def test_a_lasso_laid_out_anew_shows_exactly_its_samples_where_the_library_puts_them(browser, live):
    with opened(browser, live) as tab:
        assert tab.page.locator("#lasso").is_disabled()
        x, y = tab.column("x1"), tab.column("y1")
        low, high = (x.min() - 0.5, y.min() - 0.5), (np.median(x), y.max() + 0.5)
        tab.drag("1", [low, (low[0], high[1]), high, (high[0], low[1]), low])
        tab.settle()
        rows = np.array(tab.selected())
        assert 10 < len(rows) < 50
        tab.page.get_by_label("Neighbours").fill("7")
        tab.page.get_by_label("Seed").fill("5")
        tab.page.get_by_role("button", name=f"Embed the {len(rows)} selected").click()
        tab.wait(step=2)
        layers = {"input": IMAGES, **LAYERS}
        direct = embed({name: X[rows] for name, X in layers.items()}, reducer=UMAP(n_neighbors=7, random_state=5))
        for k, embedding in enumerate(direct.values()):
            atol = half_a_step(embedding.Z)
            np.testing.assert_allclose(tab.column(f"x{k}"), embedding.Z[:, 0], atol=atol)
            np.testing.assert_allclose(tab.column(f"y{k}"), embedding.Z[:, 1], atol=atol)
        shown = [tab.frame.locator("#gallery .tile").nth(k).get_attribute("title") for k in range(len(tab.gallery()))]
        assert all(text.startswith(f"#{IDS[rows[row]]}") for text, row in zip(shown, tab.gallery(), strict=True))
        tab.page.get_by_role("button", name="All 60").click()
        tab.wait(step=1)
        np.testing.assert_array_equal(tab.column("x1"), x)
        assert tab.page.get_by_label("Seed").input_value() == "0"


@pytest.mark.browser
def test_layers_and_reducer_are_chosen_with_the_keyboard_alone(browser, live):
    with opened(browser, live) as tab:
        tab.page.locator("#layers summary").focus()
        tab.page.keyboard.press("Enter")
        tab.page.keyboard.press("Tab")
        tab.page.keyboard.press("Space")
        tab.page.keyboard.press("Escape")
        assert tab.page.locator("#layers summary").inner_text().startswith("Layers 2 of 3")
        tab.page.get_by_label("Reducer").focus()
        tab.page.get_by_label("Reducer").select_option("pca")
        assert not tab.page.get_by_label("Seed").is_visible()
        tab.page.get_by_role("button", name="Re-embed").press("Enter")
        tab.wait(step=1)
        direct = embed(LAYERS, reducer="pca")
        Z = direct["<b>output</b>"].Z
        np.testing.assert_allclose(tab.column("x1"), Z[:, 0], atol=half_a_step(Z))


@pytest.mark.browser
def test_errors_are_text_on_a_page_that_lives_on(browser, live):
    with opened(browser, live) as tab:
        tab.page.locator("#layers summary").click()
        tab.page.get_by_role("button", name="None").click()
        tab.page.get_by_role("button", name="Re-embed").click()
        tab.page.wait_for_selector("#status.error")
        assert tab.page.locator("#status").inner_text() == "layers: none is chosen; choose at least one"
        tab.page.locator("#layers summary").click()
        tab.page.get_by_role("button", name="All", exact=True).click()
        tab.page.get_by_role("button", name="Re-embed").click()
        tab.wait(step=1)
        assert tab.page.locator("#status").inner_text().startswith("done in")


@pytest.mark.browser
def test_marks_and_neighbours_of_a_clicked_sample(browser, live):
    with opened(browser, live) as tab:
        x, y = tab.column("x2"), tab.column("y2")
        far = np.hypot(x[:, None] - x, y[:, None] - y) + 1e9 * np.eye(N)
        row = int(far.min(axis=1).argmax())  # the pointer cannot mean another
        tab.page.mouse.click(*tab.place("2", x[row], y[row]))
        tab.frame.get_by_label("Note").fill("<b>why</b>")
        tab.frame.get_by_role("button", name=f"Mark #{IDS[row]}").click()
        tab.frame.wait_for_selector("#card .mark.own")
        assert tab.frame.locator("#card .mark.own").inner_text() == "suspect"
        assert [(mark.id, mark.label, mark.note) for mark in Marks(live.marks)] == [(IDS[row], "suspect", "<b>why</b>")]
        tab.frame.locator("#near-layer").select_option("hidden")
        tab.frame.locator("#near-count").fill("6")
        tab.frame.get_by_role("button", name="Find").click()
        tab.frame.wait_for_selector("#near-found .thumb")
        found = tab.js("[...document.querySelectorAll('#near-found .thumb')].map((thumb) => Number(thumb.dataset.row))")
        nearest = NearestNeighbors(n_neighbors=7).fit(LAYERS["hidden"]).kneighbors(LAYERS["hidden"][[row]])[1]
        assert found == nearest[0, 1:].tolist()
    with opened(browser, live) as tab:  # saved, and read again
        tab.frame.get_by_role("button", name="1 marked").click()
        tab.settle()
        assert tab.gallery() == [row]
        tab.frame.locator("#gallery .tile").click()
        tab.frame.get_by_role("button", name="Unmark").click()
        tab.frame.wait_for_selector("#card .mark.own", state="detached")
        wait_for(lambda: not list(Marks(live.marks)))


@pytest.mark.browser
def test_the_end_of_the_server_is_said(browser, source, tmp_path):
    page = browser.new_page()
    with running(source, tmp_path / "m.json") as server:
        page.goto(server.url)
        page.wait_for_selector("html[data-busy=false]", state="attached", timeout=60_000)
    page.wait_for_selector("#status.error")
    assert (
        page.locator("#status").inner_text()
        == "The connection to the server is lost: restart the server if it has ended, then reload this page."
    )
    assert page.get_by_role("button", name="Re-embed").is_disabled()
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize(("size", "scheme"), [((1440, 900), "light"), ((1024, 768), "dark")])
def test_nothing_scrolls_sideways_the_theme_is_one_and_axe_finds_no_serious_violation(browser, live, size, scheme):
    with opened(browser, live, size, scheme) as tab:
        sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert (tab.page.evaluate(sideways), tab.js(sideways)) == (0, 0)
        assert serious_violations(tab.page) == []
        assert serious_violations(tab.frame) == []
        assert tab.js("document.documentElement.dataset.theme") == scheme
        tab.frame.get_by_role("button", name="Switch between the light and the dark theme").click()
        other = {"light": "dark", "dark": "light"}[scheme]
        tab.page.wait_for_function(f"document.documentElement.dataset.theme === '{other}'")


@pytest.mark.browser
def test_names_from_the_store_and_the_data_are_text(browser, live):
    with opened(browser, live) as tab:
        assert tab.page.locator("#layers").get_by_text("<b>output</b>").count() == 1
        assert tab.frame.locator("#near-layer option").all_inner_texts() == ["input", *LAYERS]
        assert tab.frame.locator("img[src=x]").count() == 0
        assert tab.frame.locator(".chip .name").first.inner_text() == SAMPLES.class_names[0]
