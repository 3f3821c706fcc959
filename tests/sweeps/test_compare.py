"""Tables and pictures of runs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from ritz.cli.main import main
from ritz.folders.config import signed
from ritz.folders.lock import FolderLock
from ritz.sweeps import compare
from ritz.sweeps.picture import draw, draw_comparison
from ritz.sweeps.results import result_of


def run_folder(place, config, **summary):
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(json.dumps(config))
    (place / "summary.json").write_text(json.dumps(summary))


def config(field, seed=0, model="RBM", **more):
    system = {"class_path": "ritz.lattice.systems.TransverseIsing", "init_args": {"field": field}}
    return {"folder": f"{field}{seed}", "seed": seed, "system": system, "model": model, **more}


@pytest.fixture
def runs(tmp_path):
    ended = {"steps": 100, "seconds": 2.5, "stop_reason": "FINISHED"}
    for field in (0.5, 10.0):
        for seed in (0, 1):
            energy = -field - 0.01 * seed
            result = {"energy": energy, "error": 0.01, "r_hat": 1.0}
            run_folder(tmp_path / f"{field}-{seed}", config(field, seed), **result, **ended)
    run_folder(
        tmp_path / "other", config(0.5, 2, "ResNet"), energy=None, error=None, suspect="acceptance"
    )
    return tmp_path


def test_settings_that_differ_are_columns(runs):
    frame = compare([runs])
    assert list(frame.columns) == [
        "field", "model", "seed", "energy", "error", "suspect", "steps", "seconds", "stop_reason",
    ]  # fmt: skip
    assert frame["field"].tolist() == [0.5, 0.5, 0.5, 10.0, 10.0]
    names = {"system.field": "field", "model": "model", "seed": "seed"}
    assert frame.attrs == {"varied": [*names.values()], "names": names, "quantity": "energy"}
    assert len(compare([runs], where={"system.field": 10}, sort="-system.field")) == 2
    assert "r_hat" in compare([runs], everything=True)
    assert list(compare([runs / "0.5-0", runs / "0.5-1"]).columns[:2]) == ["seed", "energy"]


@pytest.mark.parametrize(
    ("extents", "cells"), [([[8], [12]], [8, 12]), ([[4, 4], [10, 10]], ["4x4", "10x10"])]
)
def test_lattices_are_sorted_by_size(tmp_path, extents, cells):
    for extent in extents[::-1]:
        run_folder(tmp_path / str(extent), config(0.5, extent=extent), energy=-1.0)
    assert compare([tmp_path])["extent"].tolist() == cells


def test_rows_are_chosen_and_sorted(runs):
    assert len(compare([runs], where={"field": "10", "seed": 1})) == 1
    assert compare([runs], sort="energy")["energy"].iloc[0] == -10.01
    assert compare([runs], sort="-field")["field"].iloc[0] == 10.0
    of_another = compare([runs], "r_hat")
    assert of_another["r_hat"].iloc[0] == 1.0
    assert "error" not in of_another  # which is that of the energy
    for wrong in ({"where": {"colour": 1}}, {"sort": "colour"}, {"quantity": "colour"}):
        with pytest.raises(ValueError, match="colour"):
            compare([runs], **wrong)
    with pytest.raises(ValueError, match="there is no folder"):
        compare([runs / "none"])


def test_runs_that_go_on_are_in_the_table_before_they_have_results(tmp_path, capsys):
    for field in (1.0, 0.5):
        place = tmp_path / str(field)
        place.mkdir()
        (place / "config.yaml").write_text(json.dumps(config(field)))
    with FolderLock(tmp_path / "1.0").held():
        assert main(["compare", str(tmp_path)]) == 0
        assert main(["compare", str(tmp_path / "1.0"), "--quantity", "RMSE_test"]) == 0
    header, half, whole, *single = capsys.readouterr().out.splitlines()
    assert header.split() == ["field", "energy", "steps", "seconds", "stop_reason"]
    assert half.split() == ["0.5"] and whole.split() == ["1.0", "RUNNING"]
    assert single[0].split() == ["RMSE_test", "steps", "seconds", "stop_reason"]
    assert single[1].split() == [str(tmp_path / "1.0"), "RUNNING"] and len(single) == 2


def test_a_run_that_is_tried_again_goes_on(tmp_path):
    run_folder(tmp_path / "a", config(0.5), energy=-1.0)
    (tmp_path / "a" / "sweep.json").write_text(json.dumps({"state": "failed"}))
    assert compare([tmp_path])["stop_reason"].tolist() == ["FAILED"]
    with FolderLock(tmp_path / "a").held():
        assert compare([tmp_path])["stop_reason"].tolist() == ["RUNNING"]


def test_a_run_that_has_begun_is_in_the_table_once_its_settings_are(tmp_path):
    run_folder(tmp_path / "a", config(0.5), energy=-1.0)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "sweep.json").write_text(json.dumps({"state": "running"}))
    assert len(compare([tmp_path])) == 1


def test_runs_of_several_domains_are_told_by_these(runs, capsys):
    for domain, name in (("lattice", "0.5-0"), ("molecule", "0.5-1")):
        file = runs / name / "config.yaml"
        file.write_bytes(signed(file.read_bytes(), domain))
    both = [str(runs / "0.5-0"), str(runs / "0.5-1")]
    assert compare(both).attrs["varied"] == ["domain"]
    assert main(["compare", *both]) == 0
    first = capsys.readouterr().out.splitlines()[1]
    assert first.split()[:3] == [both[0], "lattice", "-0.5"]


def test_the_command_prints_the_table_and_writes_it(runs, capsys):
    files = [str(runs / "table.csv"), str(runs / "picture.png")]
    assert main(["compare", "-o", files[0], "-o", files[1], str(runs)]) == 0
    out = capsys.readouterr().out
    header, first = out.splitlines()[:2]
    assert header.split()[:4] == ["field", "model", "seed", "energy"]
    assert first.split()[:5] == ["0.5", "RBM", "0", "-0.5", "0.01"]
    assert (runs / "table.csv").read_text().startswith("run,field,model,seed,energy,error")
    assert (runs / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert main(["compare", str(runs), "--where", "field=10", "-o", "x.doc"]) == 2
    assert "-o writes .csv, .png, .pdf, .svg, but 'x.doc' was given" in capsys.readouterr().err
    assert main(["compare", str(runs), "--where", "field=3"]) == 2
    assert "no run that is left has field=3; there are: 0.5, 10.0" in capsys.readouterr().err
    assert main(["compare", str(runs), "--where", "field=3", "--where=field=0.5"]) == 2
    assert "--where names field twice" in capsys.readouterr().err
    assert main(["compare", str(runs / "table.csv")]) == 2
    assert "this is a file" in capsys.readouterr().err
    assert main(["compare", str(runs), "--where", "field"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


def test_a_table_that_is_read_in_part_only_ends_quietly(runs):
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-m", "ritz", "compare", str(runs)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(line, stdout=writing, stderr=subprocess.PIPE, env=environment)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_pictures_against_whole_numbers_have_these_at_the_axis(runs, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *given, **more: figures.append(figure))
    draw(compare([runs], where={"model": "RBM"}), runs / "a.png", "seed")
    assert all(tick.is_integer() for tick in figures[0].axes[0].get_xticks())


def test_pictures_need_numbers(runs, tmp_path):
    with pytest.raises(ValueError, match="holds no numbers"):
        draw(compare([runs]), tmp_path / "a.png", "model")
    with pytest.raises(ValueError, match="no column"):
        draw(compare([runs]), tmp_path / "a.png", "colour")
    with pytest.raises(ValueError, match="no run has a finite energy"):
        draw(compare([runs], where={"model": "ResNet"}), tmp_path / "a.png", "field")


def test_suspect_results_are_open_marks_without_error_bars(tmp_path):
    for field, suspect in ((0.5, None), (1.0, "r_hat"), (1.5, None)):
        result = {"energy": -field, "error": 0.1}
        more = {} if suspect is None else {"suspect": suspect}
        run_folder(tmp_path / str(field), config(field), **result, **more)
    good, suspects = draw_comparison(compare([tmp_path])).axes[0].containers
    assert [good.lines[0].get_xdata().tolist(), suspects.lines[0].get_xdata().tolist()] == [
        [0.5, 1.5],
        [1.0],
    ]
    assert good.has_yerr and not suspects.has_yerr
    assert suspects.lines[0].get_markerfacecolor() == "none"


def test_pictures_may_have_another_unit_than_the_table(tmp_path):
    for width, rmse in ((1, 0.002), (2, 0.003)):
        run_folder(tmp_path / str(width), {"width": width}, RMSE_test=rmse)
    axes = draw_comparison(compare([tmp_path]), scale=1e3, unit="meV/atom").axes[0]
    assert axes.get_ylabel() == "RMSE_test (meV/atom)"
    assert axes.containers[0].lines[0].get_ydata().tolist() == pytest.approx([2, 3])


def test_why_a_sweep_has_given_up_a_run_is_its_message(tmp_path):
    run_folder(tmp_path / "a", config(1.0), energy=-1.0, message="finished all steps")
    os.utime(tmp_path / "a" / "summary.json", (0, 0))
    content = {"state": "pruned", "message": "worse than half of the runs"}
    (tmp_path / "a" / "sweep.json").write_text(json.dumps(content))
    result = result_of(tmp_path / "a")
    assert result["stop_reason"] == "PRUNED"
    assert result["message"] == "worse than half of the runs"
