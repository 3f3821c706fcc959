from pathlib import Path

import pytest

from ritz.plotting import labels_of


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["a/ising", "b/heisenberg"], ["ising", "heisenberg"]),
        (["a/ising", "b/ising", "c"], ["a/ising", "b/ising", "c"]),
        (["runs/h0.5", "runs/h1.0.csv"], ["h0.5", "runs/h1.0"]),
        (["runs/a/train.log", "runs/b/train.csv"], ["a/train", "b/train"]),
        (["run.csv"], ["run"]),
        (["_old", "x$1$"], ["_old", "x$1$"]),
    ],
)
def test_labels_are_the_shortest_paths_that_differ(paths: list[str], labels: list[str]) -> None:
    for path in map(Path, paths):
        if not path.suffix or path.name == "h0.5":
            path.mkdir(parents=True)
    assert labels_of(paths) == labels


def test_the_folder_in_which_one_is_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("here").mkdir()
    Path("there").mkdir()
    monkeypatch.chdir("here")
    assert labels_of([".", "../there"]) == ["here", "there"]


def test_the_same_run_twice_has_the_same_label() -> None:
    Path("a").mkdir()
    first, second = labels_of(["a", "a"])
    assert first == second
