"""What the commands on dead letters know without a broker: choosing, decoding as far as it goes, mending."""

import json
from dataclasses import asdict, replace

import pytest
import recorded
import worlds
from typer.testing import CliRunner

from stream_allocator.archive import read_archive, write_archive
from stream_allocator.cli import app
from stream_allocator.codec import Codec
from stream_allocator.errors import DataError
from stream_allocator.events import ControlEvent, PositionEvent, ReturnEvent
from stream_allocator.letters import Choice, counts, find, hex_dump, letters, mended, refusal, report
from stream_allocator.packed import pack
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import load_topology

CODEC = Codec()
TICK, HELD = worlds.tick(3, [0.01, 0.02, 0.03, 0.04]), worlds.position(3, 0, [250.0] * 4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return recorded.write_topology(tmp_path_factory.mktemp("letters"))


@pytest.fixture(scope="module")
def topology(path):
    return load_topology(path)


def letter_of(topology, event, key=b"u", value=lambda v: v, headers=None, offset=5):
    """The letter that a shard makes of a record that holds an event, spoilt."""
    role = recorded.ROLES.get(type(event), "returns")
    framed, names = CODEC.frame(event)
    record = Record(role, 0, offset, key, value(framed), tuple(names if headers is None else headers))
    out = Shard(topology, 0).apply(record)[-1]
    (letter,) = letters([Record("dead_letters", 0, 0, out.key, out.value, out.headers)], CODEC)
    return letter


@pytest.fixture(scope="module")
def some(topology):
    made = [
        letter_of(topology, TICK, value=lambda v: v[:-20], offset=7),
        letter_of(topology, replace(HELD, nav=-1.0), offset=8),
        letter_of(topology, replace(TICK, universe="x"), key=b"x", offset=9),
        letter_of(topology, replace(HELD, nav=-2.0), offset=10),
    ]
    return [replace(letter, offset=i) for i, letter in enumerate(made)]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (Choice(), [0, 1, 2, 3]),
        (Choice(code="invalid"), [1, 3]),
        (Choice(topic="returns"), [0, 2]),
        (Choice(universe="u"), [0, 1, 3]),
        (Choice(first=8, last=9), [1, 2]),
        (Choice(code="invalid", first=9), [3]),
    ],
)
def test_letters_are_chosen_by_code_topic_universe_and_origin(some, choice, wanted):
    assert [x.offset for x in some if choice(x)] == wanted
    assert counts(some) == {"invalid": 2, "malformed": 1, "unknown_universe": 1}


def test_a_letter_is_found_by_its_place(some):
    assert find(some, "0:2").event.code == "unknown_universe"
    for at, said in (
        ("0:9", "no dead letter at 0:9"),
        ("nine", "no PARTITION:OFFSET"),
        ("0:-1", "no PARTITION"),
    ):
        with pytest.raises(DataError, match=said):
            find(some, at)


@pytest.mark.parametrize("event", [TICK, pack(TICK, worlds.ASSETS)], ids=["plain", "packed"])
def test_what_can_be_read_is_shown_and_where_it_ends_and_why(topology, event):
    told = report(letter_of(topology, event, value=lambda v: v[:-20]), topology)
    assert told["event"] is None
    assert told["decoded"]["universe"] == "u"
    assert told["decoded"]["event_time"] == TICK.event_time
    assert told["fault"].startswith("field returns, which begins at byte ")
    assert "EOFError" in told["fault"]


def test_bytes_left_over_are_told(topology):
    told = report(letter_of(topology, TICK, value=lambda v: v + b"abc"), topology)
    assert told["decoded"]["returns"] == list(TICK.returns)
    assert told["fault"].startswith("3 bytes after the last field")


def test_an_event_that_was_refused_for_what_it_says_is_shown_whole(topology):
    told = report(letter_of(topology, replace(HELD, nav=-1.0)), topology)
    assert told["event"] == asdict(replace(HELD, nav=-1.0)) | {
        "assets": list(HELD.assets),
        "market_values": list(HELD.market_values),
    }
    assert told["fault"] is None
    assert "nav is -1.0" in told["reason"]
    json.dumps(told)


@pytest.mark.parametrize("value", [lambda v: None, lambda v: b"", lambda v: b"\xff" * 300])
def test_nothing_is_too_broken_to_be_shown(topology, value):
    told = report(letter_of(topology, TICK, value=value, headers=[("é", b"\xff")], key=None), topology)
    assert told["fault"]
    json.dumps(told)


@pytest.mark.parametrize("event", [TICK, HELD, worlds.control(3, 0, "baseline")])
def test_a_mended_event_is_read_from_json_and_looked_at(topology, tmp_path, event):
    file = tmp_path / "event.json"
    file.write_text(json.dumps(asdict(event)))
    assert mended(file, type(event)) == event
    assert refusal(event, topology) is None
    assert refusal(replace(event, universe="x"), topology).code == "unknown_universe"
    assert refusal(replace(event, event_time=-1), topology).code == "invalid"


@pytest.mark.parametrize(
    ("cls", "text", "said"),
    [
        (ReturnEvent, "{", "not a ReturnEvent"),
        (ReturnEvent, "[]", "one object"),
        (ReturnEvent, '{"universe": "u"}', "source: Field required"),
        (PositionEvent, json.dumps(asdict(HELD) | {"nva": 1}), "no such field: nva"),
        (PositionEvent, json.dumps(asdict(HELD) | {"nav": "much"}), "nav: "),
        (ControlEvent, json.dumps(asdict(worlds.control(0, 0, "active")) | {"mode": "off"}), "mode: "),
    ],
)
def test_a_mended_file_that_is_no_event_is_refused_with_its_fault(tmp_path, cls, text, said):
    file = tmp_path / "event.json"
    file.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        mended(file, cls)
    assert str(file) in str(caught.value)


def test_a_dump_shows_offsets_bytes_and_text():
    lines = hex_dump(b"u\0\xffabcdefghijklmnop", limit=17)
    assert lines[0] == "00000000  75 00 ff 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d  u..abcdefghijklm"
    assert lines[1].split() == ["00000010", "6e", "n"]
    assert lines[2] == "... 2 bytes more"


def test_list_and_show_work_on_an_archive(topology, path, some, tmp_path):
    records = []
    for letter in some:
        value, headers = CODEC.frame(letter.event)
        records.append(Record("dead_letters", 0, letter.offset, letter.event.key, value, tuple(headers)))
    write_archive({("dead_letters", 0): records}, tmp_path)
    assert read_archive(tmp_path, ("dead_letters",))["dead_letters", 0] == records
    run = CliRunner().invoke
    where = ["-t", str(path), "--archive", str(tmp_path)]
    listed = json.loads(run(app, ["dead-letters", "list", *where, "--code", "invalid", "--json"]).stdout)
    assert (listed["count"], [x["letter"] for x in listed["letters"]]) == (2, ["0:1", "0:3"])
    assert "4 dead letters: 2 invalid" in run(app, ["dead-letters", "list", *where, "--limit", "1"]).stdout
    shown = run(app, ["dead-letters", "show", "0:0", *where]).stdout
    assert "fault: field returns" in shown
    assert "00000000  02 75" in shown
    assert json.loads(run(app, ["dead-letters", "show", "0:1", *where, "--json"]).stdout)["code"] == "invalid"
