"""What varies in a sweep, and the names of its runs."""

import pytest

from ritz.sweeps import resources
from ritz.sweeps.naming import LONGEST, names_of, short_names
from ritz.sweeps.variations import variations


def test_grids_take_all_combinations_and_seeds_are_innermost():
    found = variations(vary={"a.x": [1, 2], "b": ["u", "v"]}, seeds=2)
    assert [tuple(row.values()) for row in found[:3]] == [(1, "u", 0), (1, "u", 1), (1, "v", 0)]
    assert len(found) == 8 and list(found[0]) == ["a.x", "b", "seed"]


def test_ranges_are_linear_or_logarithmic():
    ends = {"from": 0.1, "to": 10.0, "points": 3}
    values = [row["h"] for row in variations(vary={"h": ends})]
    assert values == [0.1, 5.05, 10.0]
    values = [row["h"] for row in variations(vary={"h": {**ends, "log": True}})]
    assert values == [0.1, 1.0, 10.0]
    assert variations(vary={"h": {**ends, "points": 1}}) == [{"h": 0.1}]


def test_draws_are_repeatable_and_within_their_bounds():
    draw = {
        "runs": 40,
        "seed": 3,
        "rate": {"log_uniform": [1e-3, 1e-1]},
        "field": {"uniform": [0.5, 1.5]},
        "n": {"integer": [2, 4]},
        "rule": {"choice": ["SR", "MinSR"]},
    }
    found = variations(draw=draw)
    assert found == variations(draw=draw) != variations(draw={**draw, "seed": 4})
    assert all(1e-3 <= row["rate"] <= 1e-1 and 0.5 <= row["field"] <= 1.5 for row in found)
    assert {row["n"] for row in found} == {2, 3, 4}
    assert {row["rule"] for row in found} == {"SR", "MinSR"}
    below = sum(row["rate"] < 1e-2 for row in found)
    assert 10 < below < 30  # half of the draws, by ratios


def test_runs_one_by_one_are_taken_with_each_seed():
    found = variations(runs=[{"a": 1, "b": 2}, {"a": 3}], seeds=[5, 7])
    assert found == [
        {"a": 1, "b": 2, "seed": 5},
        {"a": 1, "b": 2, "seed": 7},
        {"a": 3, "seed": 5},
        {"a": 3, "seed": 7},
    ]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"vary": {"h": 1.0}}, r"vary.h takes a list"),
        ({"vary": {"h": []}}, r"vary.h: the list of its values is empty"),
        ({"vary": {"h": [1.0, float("nan")]}}, r"h must have finite values, but nan was given"),
        ({"vary": {"h": [[1.0, {"a": float("inf")}]]}}, r"h must have finite values"),
        ({"runs": [{"h": float("-inf")}]}, r"h must have finite values, but -inf was given"),
        ({"draw": {"runs": 1, "h": {"choice": [float("nan")]}}}, r"h must have finite values"),
        ({"vary": {"h": {"from": 1, "to": 2}}}, r"vary.h takes a list"),
        ({"vary": {"h": {"from": 1, "to": 2, "points": 0}}}, r"vary.h.points must be"),
        ({"vary": {"h": {"from": "a", "to": 2, "points": 3}}}, r"vary.h.from must be a number"),
        ({"vary": {"h": {"from": 0, "to": 2, "points": 3, "log": True}}}, "same sign"),
        ({"vary": [1]}, "takes settings by their names"),
        ({"runs": []}, "at least one run"),
        ({"runs": [3]}, "takes settings by their names"),
        ({"draw": {"h": {"uniform": [0, 1]}}}, "draw.runs must say"),
        ({"draw": {"runs": 3}}, "draw names no setting"),
        ({"draw": {"runs": 3, "h": {"uniform": [1, 0]}}}, "a <= b"),
        ({"draw": {"runs": 3, "h": {"log_uniform": [0, 1]}}}, "0 < a <= b"),
        ({"draw": {"runs": 3, "h": {"normal": [0, 1]}}}, "draw.h takes"),
        ({"seeds": 0}, "seeds takes"),
        ({"seeds": [1, -1]}, "seeds takes"),
        ({"seeds": ["0", "1"]}, "whole numbers from 0 on without quotes"),
        ({"vary": {"h": [1]}, "runs": [{"h": 2}]}, "h varies in two ways"),
    ],
)
def test_what_is_no_variation_is_told(given, text):
    with pytest.raises(ValueError, match=text):
        variations(**given)


def test_names_tell_runs_apart():
    assert short_names(["a.x", "b.x", "c"]) == {"a.x": "a.x", "b.x": "b.x", "c": "c"}
    rows = [{"s.extent": [4, 4], "s.h": 0.5}, {"s.extent": [4, 4], "s.h": 1e-3}]
    assert names_of(rows) == ["extent=4x4,h=0.5", "extent=4x4,h=0.001"]
    model = {"class_path": "my.models.Net", "init_args": {"depth": 2}}
    assert names_of([{"model": model}, {"model": "../a b"}]) == [
        "model=Net_depth=2",
        "model=.._a_b",
    ]
    long = names_of([{"x": "a" * 300}, {"x": "a" * 301}])
    assert len(set(long)) == 2 and all(len(name) <= LONGEST + 10 for name in long)
    texts = names_of([{"x": "a b"}, {"x": "a/b"}, {"x": "a:b"}])
    assert len(set(texts)) == 3
    with pytest.raises(ValueError, match="two runs have the same settings"):
        names_of([{"x": "a b"}, {"x": "a/b"}, {"x": "a/b"}])
    with pytest.raises(ValueError, match="two runs have the same settings"):
        names_of([{"x": 1}, {"x": 1}])


def test_runs_are_divided_among_cores_and_gpus(monkeypatch):
    monkeypatch.setattr(resources, "cores", lambda: list(range(8)))
    monkeypatch.setattr(resources, "gpus", list)
    assert resources.most_at_once() == 8
    assert [one.cores for one in resources.shares(3)] == [(0, 3, 6), (1, 4, 7), (2, 5)]
    assert resources.shares(1)[0].environment["OMP_NUM_THREADS"] == "8"
    monkeypatch.setattr(resources, "gpus", lambda: ["4", "5"])
    assert resources.most_at_once() == 2
    found = [one.environment for one in resources.shares(3)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["4", "5", "4"]
    shares = [one.get("XLA_PYTHON_CLIENT_MEM_FRACTION") for one in found]
    assert shares == ["0.450", None, "0.450"]
