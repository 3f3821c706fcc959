"""What notebooks show of drivers, logs and results."""

import dataclasses

import numpy as np
import pytest

from ritz.callbacks import EarlyStopping, HookTiming
from ritz.html import HtmlFields, brief, escaped, sparkline, table
from ritz.loggers import RuntimeLog
from ritz.loggers.history import History, HistoryDict
from ritz.stages.digest import Digest
from ritz.testing import QuadraticDriver


@pytest.fixture(scope="module")
def finished():
    driver, log = QuadraticDriver(noise=0.1), RuntimeLog()
    callbacks = [timing := HookTiming(), digest := Digest(folder=None), EarlyStopping()]
    driver.run(5, out=log, callback=callbacks, show_progress=False)
    return driver, log, timing, digest


def test_a_driver_says_how_it_ended(finished):
    shown = finished[0]._repr_html_()
    assert "QuadraticDriver" in shown and "finished all steps" in shown and "± 0.1" in shown
    fresh = QuadraticDriver()
    assert "no step yet" in fresh._repr_html_() and fresh.step_count == 0


def test_a_failed_driver_says_so():
    def fail(step, row, driver):
        raise ArithmeticError("<fault>")

    driver = QuadraticDriver()
    with pytest.raises(ArithmeticError):
        driver.run(2, callback=fail, show_progress=False)
    assert "failed" in driver._repr_html_() and "&lt;fault&gt;" in driver._repr_html_()


def test_a_log_shows_its_quantities(finished):
    shown = finished[1]._repr_html_()
    assert "loss" in shown and "<polyline" in shown and ">5<" in shown
    assert RuntimeLog()._repr_html_().count("<tr>") == 1  # the head


def test_a_log_with_nested_odd_and_complex_values():
    data = HistoryDict(a={"b": History({"value": [1 + 2j, np.nan]}, [0, 1])}, text=History())
    data["vector"] = History({"value": np.ones((2, 3))}, [0, 1])
    shown = data._repr_html_()
    assert "a/b" in shown and "float64[3]" in shown and "<pre>" not in shown


def test_tables_of_callbacks_and_estimates(finished):
    driver, _, timing, digest = finished
    assert "EarlyStopping" in driver.callbacks._repr_html_()
    assert "before_parameter_update" in timing._repr_html_()
    assert "autocorrelation_time" in digest._repr_html_() and "5 steps" in digest._repr_html_()
    assert "n_steps" in digest.estimates()["loss"]._repr_html_()
    assert "0 steps" in Digest()._repr_html_()


def test_results_show_their_fields():
    @dataclasses.dataclass
    class Result(HtmlFields):
        energy: object
        stats: dict

    shown = Result(np.ones(3), {"<rmse>": 0.5})._repr_html_()
    assert "float64[3]" in shown and "&lt;rmse&gt;" in shown and "<rmse>" not in shown


def test_a_value_that_cannot_be_shown_does_not_fail():
    class Bad:
        def __str__(self):
            raise RuntimeError

    @dataclasses.dataclass
    class Result(HtmlFields):
        value: object

    assert Result(Bad())._repr_html_().startswith("<pre>")


@pytest.mark.parametrize("values", [[], [1.0], [np.nan, 1.0], ["a", "b"], [[1.0], [2.0]]])
def test_no_curve_without_two_numbers(values):
    assert sparkline(values) == ""


def test_a_long_curve_is_thinned_and_keeps_its_extremes():
    values = np.zeros(100_000)
    values[77_777] = 1.0
    points = sparkline(values).split('points="')[1].split('"')[0].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert len(points) < 400 and min(heights) == 2.0 and max(heights) == 30.0


def test_texts_are_escaped():
    assert escaped("<b>") == "&lt;b&gt;" and "&lt;i&gt;" in table([["<i>", 1.23456789]])
    assert brief(1.23456789) == "1.23457" and brief([1, 2]) == "2 items"
