import json
from collections import deque
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ritz.checkpoint.plain import Decoder, Encoder, pack, placed, unpack

numbers = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.complex_numbers(allow_nan=False),
)
values = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=2), st.integers()), inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)


def there_and_back(value, like=None, template=None):
    arrays = {}
    form = json.loads(json.dumps(Encoder(arrays, like).encode(value, "x")))
    arrays = unpack(*pack(arrays))
    return Decoder(arrays, like).decode(form, template)


@pytest.mark.medium
@given(values)
def test_values_come_back(value):
    back = there_and_back(value)
    assert repr(back) == repr(value)  # types, NaN, signs of zeros


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3), np.array(1 + 2j), np.array([], np.int8), np.zeros((2, 0)),
        np.array([True, False]), np.array(["a", "bc"]), np.float32(0.1), np.int64(3),
        jnp.arange(3, dtype=jnp.bfloat16), jnp.array(2.5), jnp.float32(1),
    ],
)  # fmt: skip
def test_arrays_come_back(array):
    back = there_and_back(array)
    assert type(back) is type(array) and back.dtype == array.dtype and back.shape == array.shape
    np.testing.assert_array_equal(np.asarray(back), np.asarray(array))


def test_what_is_packed_is_a_copy():
    arrays, value = {}, np.zeros(3)
    form = Encoder(arrays).encode({"a": value, "b": value[::2]}, "x")
    packed = pack(arrays)
    value += 1
    back = Decoder(unpack(*packed)).decode(form)
    assert back["a"].tolist() == [0, 0, 0] and back["b"].tolist() == [0, 0]


def test_random_keys_and_generators_go_on():
    key = jax.random.key(3, impl="rbg")
    back = there_and_back(key)
    assert jax.random.key_impl(back) == "rbg"
    assert jax.random.normal(back, 2).tolist() == jax.random.normal(key, 2).tolist()
    for random in (np.random.default_rng(1), np.random.RandomState(1)):
        random.normal(size=3)
        back = there_and_back(random)
        assert back.normal() == random.normal()


def test_numbers_keep_their_type_whatever_precision_is_set_in_jax():
    """Also where the number that is replaced has the type of what it meets."""
    with jax.enable_x64(False):
        template = jnp.asarray(0.9)
    assert template.weak_type
    for number in (np.float32, np.float64):
        assert placed(np.asarray(0.3, number), template).dtype == number


def test_queues_keep_their_length():
    back = there_and_back(deque([1, 2], maxlen=2))
    assert back == deque([1, 2]) and back.maxlen == 2


class Pair(NamedTuple):
    first: object
    second: object


def test_values_like_the_parameters_may_have_any_containers():
    like = Pair(np.zeros(2), {"b": jnp.zeros(3)})
    back = there_and_back({"best": Pair(np.ones(2), {"b": jnp.ones(3)})}, like)["best"]
    assert isinstance(back, Pair) and back.second["b"].tolist() == [1, 1, 1]
    with pytest.raises(TypeError, match=r"^x.f is <object.*, which a checkpoint cannot hold"):
        there_and_back({"f": object()}, like)
