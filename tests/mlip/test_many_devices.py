"""Training and predictions are the same on several devices and processes."""

import numpy as np
import pytest

from tests.layouts import results
from tests.mlip.many_devices import CASES

MODULE = "tests.mlip.many_devices"


def assert_same(found, wanted):
    """To rounding: the order of sums differs, and optimisers divide by roots."""
    assert found.keys() == wanted.keys()
    for name, case in wanted.items():
        for part in ("rows", "errors"):
            assert case[part].keys() == found[name][part].keys()
            for key, values in case[part].items():
                there = found[name][part][key]
                np.testing.assert_allclose(there, values, rtol=1e-9, err_msg=f"{name}, {key}")
        for here, there in zip(case["parameters"], found[name]["parameters"], strict=True):
            np.testing.assert_allclose(there, here, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.medium
def test_two_devices_give_what_one_gives(tmp_path):
    names = ("forces", "kfac", "committee, streamed")
    (wanted,) = results(MODULE, tmp_path / "one", *names)
    (found,) = results(MODULE, tmp_path / "two", *names, devices=2)
    assert [found[name]["devices"] for name in names] == [2, 2, 2]
    assert_same(found, wanted)
    assert "compiled again" not in (tmp_path / "two" / "0.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "processes"), [(2, 1), (4, 1), (1, 2), (1, 3), (2, 2)])
def test_any_layout_gives_the_same(tmp_path, everything, devices, processes):
    found = results(MODULE, tmp_path, devices=devices, processes=processes)
    assert len(found[0]) == len(CASES)
    for one in found:
        assert_same(one, everything)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return results(MODULE, tmp_path_factory.mktemp("one"))[0]
