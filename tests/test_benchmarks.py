"""The benchmarks run, and keep, show, draw and compare what they measured."""

import json
import random
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import (
    beside,
    clock,
    compare,
    environments,
    judges,
    pages,
    peers,
    plots,
    promises,
    suites,
    tables,
)
from benchmarks.__main__ import main
from benchmarks.peers.base import Setting, Verdict
from benchmarks.peers.own import algorithm_of
from benchmarks.results import Absence, Measurement, Result, load
from benchmarks.running import Options, run
from benchmarks.suites import accuracy, memory, scale
from benchmarks.traffic import VIRTUAL, Hit, worst_window
from benchmarks.workers import Worker
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
    printable(Console(width=tables.WIDTH, file=output))
    return output.getvalue()


def measured(*samples, better="less", who="ratelimit", suite="memory", **labels):
    """Return a measurement."""
    return Measurement(suite, {"who": who, **labels}, "time", "ns", better, list(samples))


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
    assert result.took.keys() == {"installation", *suites.NAMES}
    assert min(result.took[name] for name in suites.NAMES) > 0


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


def test_tables_of_a_full_run_fit_into_a_terminal():
    """With everybody and all cases, no cell is cut and no line is longer than 100 columns."""
    who = [*peers.OWN, *peers.OTHERS]
    everything = holding(
        *(
            Measurement(name, labels, metric, unit, better, [value] * rounds)
            for name in suites.NAMES
            for rounds in (suites.load(name).rounds["full"],)
            for value in (99.9 if name == "scale" else 123_456.7,)
            for labels in suites.load(name).cases("full", who)
            for metric, (unit, better) in suites.load(name).metrics.items()
        )
    )
    output = shown(lambda console: tables.show(everything, console))
    assert max(map(len, output.splitlines())) <= tables.WIDTH
    assert "…" not in output
    assert all(f"  {name}  " in output for name in who)


def test_what_is_better_than_ours_is_starred_and_said(result):
    """In the table at the number, and beneath with the reason; GCRA is beside the token bucket."""
    case = {"colour": "sync", "keys": 100_000, "outcome": "denied", "threads": 1}
    found = holding(
        measured(200, algorithm="token bucket", **case),
        measured(100, who="throttled-py", algorithm="GCRA", **case),
        measured(300, who="PyrateLimiter", algorithm="token bucket", **case),
        measured(50, who="floor", algorithm="token bucket", **case),
    )
    sentences = beside.leads(found, "memory")
    assert [each.partition(" does better")[0] for each in sentences] == ["* throttled-py"]
    assert "1 of the numbers (time 1), most of all: time, GCRA, sync, 100,000 keys" in sentences[0]
    output = shown(lambda console: tables.show(found, console))
    assert output.count("*") == 1
    assert "*100" in output


@pytest.mark.parametrize(
    ("promise", "bound", "reached", "kept"),
    [
        (promises.at_least, 4, {"a": 4.0, "b": 5.0}, "promised at least 4, kept"),
        (promises.at_least, 4, {"a": 3.9, "b": 5.0}, "promised at least 4, not kept"),
        (promises.at_most, 0.5, {"a": 0.5}, "promised at most 0.5, kept"),
        (promises.at_most, 0.5, {"a": 0.1, "b": 0.51}, "promised at most 0.5, not kept"),
    ],
)
def test_promises(promise, bound, reached, kept):
    """All have to keep it, and what was reached is said whether they do or not."""
    [sentence] = promise(bound, "Times", reached)
    assert sentence.startswith(f"Times: a {beside.told(reached['a'])}")
    assert sentence.endswith(f"; {kept}.")


def test_no_promise_without_numbers():
    """Nothing is said about what was not measured."""
    assert promises.at_least(1, "Times", {}) == []


def test_each_suite_says_what_is_promised():
    """With everybody there, each ratio has its sentence; of equal numbers some are not enough."""
    who = [*peers.OWN, *peers.OTHERS]
    expected = {"memory": 4, "footprint": 2, "redis": 8, "asgi": 5, "accuracy": 0, "scale": 0}
    for name in suites.NAMES:
        suite = suites.load(name)
        same = holding(
            *(
                Measurement(name, labels, metric, unit, better, [100.0])
                for labels in suite.cases("full", who)
                for metric, (unit, better) in suite.metrics.items()
            )
        )
        remarks = suite.remarks(same)
        assert expected[name] == sum("; promised at " in each for each in remarks), remarks


def test_all_hold_a_million_keys():
    """Bytes a key are compared at the number that is promised."""
    cases = suites.load("footprint").cases("full", [*peers.OWN, *peers.OTHERS])
    assert {each["keys"] for each in cases} == {1_000_000}
    assert {"limits", "throttled-py", "PyrateLimiter"} < {each["who"] for each in cases}


def test_what_is_left_out_is_told():
    """A case that could not be measured is listed with its reason, and with others of that."""
    absences = [
        Absence("memory", {"who": "limits", "keys": 1}, "[it] ended"),
        Absence("memory", {"who": "limits", "keys": 2}, "[it] ended"),
        Absence("all", {"who": "moderato"}, "not installed"),
    ]
    output = shown(lambda console: tables.show(Result({}, {}, {}, [], absences), console))
    assert "left out of memory: limits: 1 key; 2 keys: [it] ended" in output
    assert "left out of all: moderato: everything: not installed" in output


@pytest.mark.parametrize(
    ("code", "patience", "error"),
    [
        ("import time; time.sleep(60)", 0.01, "took longer than 0 s"),
        ("input()", 20, "its process ended"),
    ],
)
def test_a_peer_that_hangs_or_dies(code, patience, error, tmp_path):
    """Its process is given up, and another one can be asked."""
    worker = Worker([sys.executable, "-c", code], str(tmp_path))
    assert worker.ask({}, patience) == {"error": error}
    worker.close()
    assert not worker.alive


def test_a_peer_that_died_before_it_was_asked(tmp_path):
    """A question that nobody reads is answered, too."""
    worker = Worker([sys.executable, "-c", ""], str(tmp_path))
    while worker.alive:
        time.sleep(0.01)
    assert worker.ask({}, 20) == {"error": "its process ended"}
    worker.close()


def test_what_a_peer_has_started_ends_with_it(tmp_path):
    """A server that a hanging case leaves behind would disturb all that follow."""
    child = "import time; time.sleep(60)"
    code = (
        "import json, subprocess, sys; input();"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}]);"
        "print(json.dumps({'pid': child.pid}), flush=True); child.wait()"
    )
    worker = Worker([sys.executable, "-c", code], str(tmp_path))
    pid = worker.ask({}, 20)["pid"]
    worker.close()
    deadline = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(pid)


def is_running(pid):
    """Return whether a process is there and no zombie."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip()[:1] not in {"", "Z"}


def test_no_server_to_measure_on(monkeypatch):
    """The suites that need one are left out, with the reason."""

    def nowhere():
        raise RuntimeError("no server")

    monkeypatch.setattr("benchmarks.servers.program", nowhere)
    lost = run(Options(suites=("redis",), size="tiny"))
    assert lost.absences == [Absence("redis", {"who": "all"}, "no server")]


def test_a_peer_that_cannot_be_installed(monkeypatch):
    """It is left out of all suites, and so are those that share its environment."""

    def refuse(group):
        raise OSError(f"no {group}")

    monkeypatch.setattr(environments, "install", refuse)
    lost = run(Options(suites=("memory",), size="tiny", peers=True, only="nobody"))
    assert {each.labels["who"] for each in lost.absences} == set(peers.OTHERS)
    assert lost.absences[0].reason == "its environment can't be installed: no peers"


def test_keys_that_would_take_too_long(monkeypatch):
    """A limiter that gets slower with each key is given up before it has all of them."""
    suite = memory.Memory()
    monkeypatch.setattr(memory, "SEVERAL", 10)
    monkeypatch.setattr(suite, "patience", 0)
    with pytest.raises(RuntimeError, match="filling it with 50 keys takes over 0 s"):
        suite.sample(
            next(each for each in suite.cases("tiny", ["ratelimit"]) if each["keys"] == 50),
            "tiny",
            "",
        )


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
    """The judges find no unit too much or too little, and no wait that is wrong by 5 µs."""
    wrong = [
        each.labels
        for each in result.of("accuracy", store="memory")
        if each.metric in {"over", "under", "wrong", "wait"} and each.middle > 0
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


def test_counters_that_are_floored():
    """The wait is the shortest after which the rounded sum has room, told from the sum itself."""
    chance = random.Random(3)
    for _ in range(300):
        judge = judges.FlooredCounters(7, 1_000)
        before, here, cost = chance.randint(0, 8), chance.randint(0, 7), chance.randint(1, 7)
        judge.spend(500, before)
        judge.spend(1_000, here)
        now = 1_000 + chance.randint(0, 999)

        def fits(at, before=before, here=here, cost=cost):
            if at >= 2_000:
                before, here = here, 0
            return before * (1_000 - at % 1_000) // 1_000 + here + cost <= 7

        expected = next(wait for wait in range(2_000) if fits(now + wait))
        assert judge.wait(now, cost) == expected


class TwoCounters:
    """Two counters that expire, of which one takes the other's place: 7 in a period of 1,000."""

    def __init__(self):
        self.here = self.before = (0, 0)

    def hit(self, now, cost):
        """Spend it, if there is room."""
        count, end = self.here if self.here[1] > now else (0, 0)
        if 0 < end - now < 1_000:
            self.before, (count, end) = (count, end), (0, end + 1_000)
        before, gone = self.before
        self.here = count, end
        if max(0, gone - now) * before // 1_000 + count + cost > 7:
            return False
        self.here = count + cost, end or now + 2_000
        return True


def test_counters_that_start_with_the_first_hit():
    """As two counters with expiries behave: windows go on as long as anybody asks."""
    chance = random.Random(11)
    judge, counters, now, answers = judges.CountersFromFirst(7, 1_000), TwoCounters(), 17, set()
    for _ in range(3_000):
        now += chance.choice([3, 90, 90, 310, 1_210, 4_130])
        if (now - judge.start) % 1_000 == 0:
            now += 1
        cost = chance.randint(1, 4)
        right = judge.wait(now, cost) == 0
        allowed = counters.hit(now, cost)
        assert right is allowed
        if allowed:
            judge.spend(now, cost)
        answers.add(allowed)
    assert answers == {True, False}


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
    """Told 50 ms too early once, and 30 ms too late: the larger one counts."""
    seen = [
        accuracy.Seen(Hit(at), at, Verdict(allowed, wait))
        for at, allowed, wait in [
            (0, True, 0.0),
            (100_000_000, False, 0.85),
            (200_000_000, False, 0.83),
        ]
    ]
    numbers = accuracy._numbers("sliding log", 1, accuracy.SECOND, seen, 1_000_000)
    assert (numbers["early"], numbers["wait"]) == (50.0, 50.0)


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


@pytest.mark.parametrize("page", pages.PAGES, ids=str)
def test_a_page_says_what_the_committed_result_says(page):
    """It can't be wrong; without a result it says that there is none."""
    text = page.read_text(encoding="utf-8")
    assert text.count(pages.START) == text.count(pages.END) == 1
    assert text == pages.expected(text, pages.PAGES[page])


def test_a_page_without_a_result(tmp_path):
    """It says so, and how to get numbers."""
    text = pages.expected(f"{pages.START}old\n{pages.END}", pages.numbers, tmp_path / "none.json")
    assert text == f"{pages.START}{pages.NOTHING}{pages.END}"


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
    text = pages.expected(f"before\n{pages.START}old{pages.END}after\n", pages.numbers, path)
    assert "| the best of the others | 1,000 ns (limits, fixed window) | not measured |" in text
    [own] = result.of("asgi", "added", who="ratelimit", store="memory", rules=1)
    assert f"| **{own.middle:,.1f} µs** |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text


def test_findings_for_the_docs(result, tmp_path):
    """Each suite has its picture, which is drawn by that name, and all of its sentences."""
    text = pages.findings(result)
    drawn = {path.name for path in plots.draw_all(result, tmp_path)}
    assert {f"{name}.svg" for name in suites.NAMES} <= drawn
    for name in suites.NAMES:
        assert f"](../images/{name}.svg)" in text
        assert all(each.removeprefix("* ") in text for each in result.remarks[name])


def test_the_picture_of_the_algorithms_is_there():
    """It is drawn by code, needs no measurement, and isn't blank."""
    assert marks(pages.ROOT / "docs/images/algorithms.svg") > 100
