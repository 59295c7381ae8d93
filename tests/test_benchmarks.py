"""The benchmarks run, and keep, show, draw and compare what they measured."""

import json
import random
import time
import xml.etree.ElementTree as ET
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import clock, compare, environments, judges, peers, plots, readme, suites, tables
from benchmarks.__main__ import main
from benchmarks.peers.base import Setting, Verdict
from benchmarks.peers.own import algorithm_of
from benchmarks.results import Absence, Measurement, Result, load
from benchmarks.running import Options, run
from benchmarks.suites import accuracy, scale
from benchmarks.traffic import VIRTUAL, Hit, worst_window
from tests.oracle import oracle_of

ALGORITHMS = {
    "fixed window",
    "sliding log",
    "sliding-window counter",
    "token bucket",
    "leaky bucket",
}


@pytest.fixture(scope="module")
def result():
    """Return what all suites measure at their smallest."""
    return run(Options(size="tiny"))


def shown(printable):
    """Return what a console prints."""
    output = StringIO()
    printable(Console(width=200, file=output))
    return output.getvalue()


def measured(*samples, better="less", who="ratelimit", suite="memory"):
    """Return a measurement."""
    return Measurement(suite, {"who": who}, "time", "ns", better, list(samples))


def holding(*measurements):
    """Return a result."""
    return Result({}, {}, {}, list(measurements))


@pytest.mark.parametrize("name", suites.NAMES)
def test_a_suite_measures_what_it_says(name, result):
    """Each suite has its metrics, with the units it promises, and none of its cases is left out."""
    suite = suites.load(name)
    assert [each for each in result.absences if each.suite == name] == []
    units = {(each.metric, each.unit, each.better) for each in result.of(name)}
    promised = {(metric, *meant) for metric, meant in suite.metrics.items()}
    assert units == promised - ({("rate", "requests/s", "more")} - units)
    assert {each.better for each in result.of(name)} <= {"less", "more", "neither"}


@pytest.mark.parametrize("name", ["memory", "footprint", "redis"])
def test_a_speed_suite_measures_each_algorithm(name, result):
    """All five take part, and nothing takes no time or memory."""
    own = result.of(name, who="ratelimit")
    assert {each.labels["algorithm"] for each in own} == ALGORITHMS
    speeds = [each for each in own if each.metric in {"time", "alive", "rate"}]
    assert min(each.middle for each in speeds) > 0


def test_a_result_tells_where_it_comes_from(result):
    """The machine, the versions of packages and server, and the time that it took."""
    assert {"system", "processor", "cores", "memory", "python", "commit"} == set(result.machine)
    assert "redis" in result.versions["ratelimit"]
    assert result.versions["server"]["server"].startswith(("Valkey", "Redis"))
    assert result.took > 0


def test_a_result_can_be_kept(result, tmp_path):
    """What is written is what is read, and is JSON of the schema."""
    path = tmp_path / "new" / "result.json"
    result.save(path)
    assert load(path).measurements == result.measurements
    kept = json.loads(path.read_text())
    assert kept["schema"] == 1
    for each in kept["measurements"]:
        assert set(each) == {"suite", "labels", "metric", "unit", "better", "samples"}
        assert each["samples"]
        assert all(isinstance(sample, float | int) for sample in each["samples"])


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": 0}'])
def test_what_is_no_result(text, tmp_path):
    """A file of another kind or schema is refused."""
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="holds no result of schema 1"):
        load(path)


def test_each_suite_has_tables(result):
    """Each layout that has numbers is shown, with a row for each algorithm of ours."""
    output = shown(lambda console: tables.show(result, console))
    for name in suites.NAMES:
        for layout in suites.load(name).layouts:
            if result.of(name, layout.metric, **dict(layout.where)):
                assert layout.title in output


def test_what_is_left_out_is_told(result):
    """A case that could not be measured is listed with its reason."""
    lost = Result({}, {}, {}, [], [Absence("memory", {"who": "limits"}, "[it] ended")])
    assert "limits: [it] ended" in shown(lambda console: tables.show(lost, console))


def test_the_command_line_measures_keeps_and_compares(tmp_path, monkeypatch):
    """A pattern chooses cases; the result is kept; it doesn't differ from itself."""
    monkeypatch.setattr(suites.load("memory"), "rounds", {"quick": 1})
    path = tmp_path / "result.json"
    output = shown(
        lambda console: main(
            ["memory", "--quick", "--only", "floor/count/sync/1/allowed/1", "--json", str(path)],
            console,
        )
    )
    assert "floor" in output
    assert [each.labels["outcome"] for each in load(path).measurements] == ["allowed"]
    output = shown(lambda console: main(["compare", str(path), str(path)], console))
    assert "Nothing changed" in output


def test_no_case_is_a_failure():
    """A pattern that matches nothing gives no result, and an exit status that says so."""
    console = Console(file=StringIO())
    assert main(["memory", "--quick", "--only", "nobody"], console) == 1


@pytest.mark.parametrize(
    ("old", "new", "better", "verdict"),
    [
        ([100, 101, 102], [50, 51, 52], "less", "better"),
        ([100, 101, 102], [200, 201, 202], "less", "worse"),
        ([100, 101, 102], [200, 201, 202], "more", "better"),
        ([100, 101, 102], [50, 51, 52], "more", "worse"),
        ([100, 101, 102], [50, 51, 52], "neither", "other"),
        ([100], [90], "less", "better"),
    ],
)
def test_a_change(old, new, better, verdict):
    """What differs by more than its spread is told, and whether that is good."""
    found = compare.changes(
        holding(measured(*old, better=better)), holding(measured(*new, better=better))
    )
    assert [change.verdict for change in found] == [verdict]
    assert verdict in shown(lambda console: console.print(compare.table(found)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([100, 101, 102], [101, 102, 103]),  # less than 5 %
        ([50, 100, 150], [70, 120, 170]),  # within the noise
        ([0, 0, 0], [1, 1, 1]),  # nothing to compare with
    ],
)
def test_noise(old, new):
    """What differs by less than its spread is no change."""
    assert compare.changes(holding(measured(*old)), holding(measured(*new))) == []


def test_the_largest_change_comes_first():
    """Ten times is told before twice."""
    old = holding(measured(10, who="a"), measured(10, who="b"))
    new = holding(measured(20, who="a"), measured(1, who="b"))
    assert [change.new.labels["who"] for change in compare.changes(old, new)] == ["b", "a"]


@pytest.mark.parametrize("name", peers.OWN | peers.OTHERS)
def test_a_peer_says_how_it_is_called(name):
    """Each peer is named as it is listed, tells its way, and is pinned in a group that exists."""
    peer = peers.load(name)
    assert (peer.name, bool(peer.way), bool(peer.offers)) == (name, True, True)
    if peer.group:
        pinned = dict(each.split("==") for each in environments.requirements(peer.group))
        assert pinned.keys() >= set(peer.packages)


def test_each_peer_is_documented():
    """The page on the method tells how each is called."""
    page = Path(__file__).parent.parent / "docs/explanation/benchmarks.md"
    text = page.read_text(encoding="utf-8")
    assert [name for name in peers.OTHERS if peers.load(name).way not in text] == []


def test_every_decision_of_ours_is_right(result):
    """The judges find no unit too much or too little, and no wait that is wrong by 2 µs."""
    wrong = [
        each.labels
        for each in result.of("accuracy", store="memory")
        if each.metric in {"over", "under", "wrong", "early", "late"} and each.middle > 0.002
    ]
    assert wrong == []


NAMES: dict[str, type[judges.Judge]] = {
    "fixed window": judges.Windows,
    "sliding log": judges.Log,
    "sliding-window counter": judges.Counters,
    "token bucket": judges.Bucket,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_judge_says_what_the_oracle_of_the_tests_says(name):
    """Two that were written apart agree on each hit of random traffic, and on its wait."""
    chance = random.Random(7)
    judge = NAMES[name](7, 1_000_000)
    oracle = oracle_of(algorithm_of(name, Setting(7, 1)))
    now = 1_790_000_000_000_000
    for _ in range(500):
        now += chance.choice([0, 1, 1_000, 90_000, 700_000])
        cost = chance.randint(1, 7)
        wait = oracle.wait(now, cost)
        assert judge.wait(now, cost) == wait
        if not wait:
            judge.spend(now, cost)
            oracle.spend(now, cost)


def test_windows_that_start_with_the_first_hit():
    """One that begins late ends late."""
    judge = judges.WindowsFromFirst(2, 100)
    judge.spend(150, 2)
    assert [judge.wait(moment, 1) for moment in (150, 249, 250)] == [100, 1, 0]
    judge.spend(260, 1)
    assert [judge.wait(moment, 2) for moment in (260, 359, 360)] == [100, 1, 0]


def test_what_never_fits():
    """A cost above the limit is waited for in vain."""
    assert judges.Bucket(2, 100).wait(0, 3) == judges.NEVER


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [1, -1])
def test_a_limiter_that_errs_is_found(name, wrong):
    """One unit too much or too little in each period is seen, in the right direction."""
    erring = oracle_of(algorithm_of(name, Setting(20 + wrong, 60)))
    hits = VIRTUAL["300 %"](20, 60, 4)
    seen = []
    for hit in hits:
        at = clock.START + hit.at
        allowed = erring.wait(at // 1_000, 1) == 0
        if allowed:
            erring.spend(at // 1_000, 1)
        seen.append(accuracy.Seen(hit, at, Verdict(allowed)))
    numbers = accuracy._numbers(name, 20, 60 * accuracy.SECOND, seen, 1_000_000)
    assert (numbers["over"] > 0, numbers["under"] > 0) == (wrong > 0, wrong < 0)
    assert "early" not in numbers


def test_a_wait_that_is_wrong_is_found():
    """Told 50 ms too early once, and 30 ms too late."""
    seen = [
        accuracy.Seen(Hit(at), at, Verdict(allowed, wait))
        for at, allowed, wait in [
            (0, True, 0.0),
            (100_000_000, False, 0.85),
            (200_000_000, False, 0.83),
        ]
    ]
    numbers = accuracy._numbers("sliding log", 1, accuracy.SECOND, seen, 1_000_000)
    assert (numbers["early"], numbers["late"]) == (50.0, 30.0)


def test_the_worst_window_is_over_all_windows():
    """It needn't start where a window starts, and its end is outside."""
    assert worst_window([(90, 2), (110, 3), (189, 1), (190, 5)], 100) == 9


def test_time_that_stands_still():
    """All clocks of `time` move together as told; the wall clock can be set besides."""
    with clock.put_in_place(clock.Clock(still=True)) as now:
        before = time.time(), time.monotonic(), time.time_ns(), time.monotonic_ns()
        now.advance(1.5)
        now.set_by = -1_000_000_000
        after = time.time(), time.monotonic(), time.time_ns(), time.monotonic_ns()
    moved = [new - old for old, new in zip(before, after, strict=True)]
    assert moved == [0.5, 1.5, 500_000_000, 1_500_000_000]


def test_real_time_that_is_shifted():
    """A client whose clocks are ahead by an hour; without one, time is what it was."""
    with clock.put_in_place(clock.Clock(still=False)) as now:
        now.advance(3_600)
        ahead = time.time_ns(), time.monotonic_ns()
    assert ahead[0] - time.time_ns() > 3_599 * 10**9
    assert ahead[1] - time.monotonic_ns() > 3_599 * 10**9


def grown(axis, algorithm, sizes):
    """Return the exponent by which the cost of a decision grows: of the least of some samples."""
    suite = scale.Scale()
    costs: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(5):
        for size in sizes:
            labels = {"who": "ratelimit", "algorithm": algorithm, "axis": axis, "size": size}
            costs[size].append(suite.sample(labels, "tiny", "")["cost"])
    return scale.exponent([(size, min(each)) for size, each in costs.items()])


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS - {"leaky bucket"}))
def test_the_cost_does_not_grow_with_the_limit(algorithm):
    """A limit that is a thousand times as large, and used up, costs the same: exponent 0, not 1."""
    assert grown("limit", algorithm, (10, 10_000)) < 0.3


def test_the_cost_does_not_grow_with_the_keys():
    """With ten thousand keys a decision costs about what it costs with one."""
    assert grown("keys", "token bucket", (1, 10_000)) < 0.3


def test_the_cost_of_many_rules_is_at_most_in_proportion():
    """Sixteen limits of one request cost no more than sixteen times one."""
    assert grown("rules", "token bucket", (1, 16)) < 1.2


@pytest.mark.parametrize(
    ("points", "expected"),
    [([(1, 5), (10, 5), (100, 5)], 0.0), ([(1, 2), (10, 20)], 1.0), ([(2, 4), (4, 16)], 2.0)],
)
def test_exponents(points, expected):
    """Constant, linear, square."""
    assert scale.exponent(points) == pytest.approx(expected)


def marks(path):
    """Return how many shapes and texts of a picture there are, outside of its axes' frames."""
    root = ET.parse(path).getroot()
    shapes = [each for each in root.iter() if each.tag.endswith(("path", "use", "text"))]
    return len(shapes)


def test_pictures_are_drawn_from_the_result(result, tmp_path):
    """Each suite that was run has its picture, and so have the algorithms; none is blank."""
    drawn = plots.draw_all(result, tmp_path / "images")
    names = {path.stem for path in drawn}
    assert names == {"memory", "footprint", "redis", "asgi", "accuracy", "scale", "algorithms"}
    for path in drawn:
        assert marks(path) > 20
        text = path.read_text(encoding="utf-8")
        assert "ratelimit" in text or path.stem == "algorithms"
        assert "<dc:date>" not in text


def test_what_was_not_measured_is_not_drawn(tmp_path):
    """Without numbers there are only the algorithms."""
    assert [path.stem for path in plots.draw_all(holding(), tmp_path)] == ["algorithms"]


def test_the_same_numbers_make_the_same_picture(tmp_path):
    """A picture changes only if what it shows does."""
    first, second = (plots.draw_all(holding(), tmp_path / name)[0] for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_the_readme_has_the_numbers_of_the_committed_result():
    """They can't be wrong; without a result there are none."""
    text = readme.README.read_text(encoding="utf-8")
    assert text == readme.expected(text)


def test_numbers_for_the_readme(result, tmp_path):
    """The token bucket beside the best of the others, or what wasn't measured; and nothing else."""
    path = tmp_path / "full.json"
    other = measured(1_000.0, who="limits")
    other.labels.update({"colour": "sync", "keys": 1, "outcome": "allowed", "threads": 1})
    other.labels["algorithm"] = "fixed window"
    result.save(path)
    kept = load(path)
    kept.measurements.append(other)
    kept.save(path)
    text = readme.expected(f"before\n{readme.START}old{readme.END}after\n", path)
    assert "1,000 ns (limits, fixed window)" in text
    assert "| the best of the others | 1,000 ns (limits, fixed window) | not measured |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
