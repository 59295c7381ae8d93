"""The benchmarks run, and print what they promise."""

import pytest

from benchmarks.__main__ import main


@pytest.mark.parametrize("suite", ["memory", "async", "footprint"])
def test_each_suite_prints_a_row_for_each_algorithm(suite, capsys):
    """A suite at its smallest size has a row of numbers for each algorithm."""
    main([suite, "--rounds", "1", "--calls", "2", "--keys", "10"])
    rows = capsys.readouterr().out.splitlines()
    for name in ("FixedWindow", "SlidingLog", "SlidingWindowCounter", "TokenBucket", "LeakyBucket"):
        own = [row for row in rows if row.removeprefix("ratelimit ").startswith(f"{name} ")]
        assert len(own) == 1
        assert own[0].removeprefix("ratelimit ").split()[1].lstrip("-").isdigit()
