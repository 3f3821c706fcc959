"""Python values as JSON and arrays, and back, without pickles."""

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import PyTree, UInt8

from ritz.driver.processes.division import everywhere
from ritz.types import JSON, State

PACKED = "packed"
"""Name of the array in which others are packed."""

Arrays: TypeAlias = dict[str, Any]
"""Arrays by name."""

Bytes: TypeAlias = UInt8[np.ndarray, " bytes"]


class Encoder:
    """Turns values into what JSON can hold; arrays go to `arrays`.

    Arrays of NumPy are copied. Those of JAX, which never change, stay on the device while their
    copies to the host are under way; `pack` waits for them. Where other processes have parts of
    them, all processes must encode them together.

    Args:
        arrays: Dict to which arrays are added; None keeps none, for their shapes only.
        like: A pytree, such as the parameters: values of its structure are kept as leaves, so that
            containers of any registered kind can be stored.
    """

    def __init__(self, arrays: Arrays | None, like: PyTree = None):
        self.arrays = arrays
        self._like = jax.tree.structure(like)

    def encode(self, value: Any, name: str) -> JSON:
        """`value` in a form that `Decoder.decode` understands.

        Args:
            value: Numbers, strings, None, arrays, random generators of NumPy, dataclasses, and
                lists, tuples and dicts of them.
            name: Its name, for arrays and messages.

        Raises:
            TypeError: If a checkpoint cannot hold it.
        """
        if value is None or type(value) in (bool, int, float, str):
            return value
        if type(value) is complex:
            return {"complex": [value.real, value.imag]}
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            return self._array(value, name)
        if self._is_like(value):
            leaves = jax.tree.leaves(value)
            return {"like": [self.encode(x, f"{name}.{i}") for i, x in enumerate(leaves)]}
        if type(value) in (list, tuple):
            inner = [self.encode(x, f"{name}.{i}") for i, x in enumerate(value)]
            return inner if type(value) is list else {"tuple": inner}
        if isinstance(value, deque):
            return {"deque": self.encode(list(value), name), "maxlen": value.maxlen}
        if isinstance(value, Mapping):
            return {"dict": [[k, self.encode(v, f"{name}.{k}")] for k, v in value.items()]}
        return self._object(value, name)

    def _object(self, value: object, name: str) -> JSON:
        if isinstance(value, np.random.RandomState):
            return {"random_state": self.encode(value.get_state(legacy=False), name)}
        if isinstance(value, np.random.Generator):
            return {"generator": self.encode(value.bit_generator.state, name)}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return {"dataclass": self.encode(fields, name)}
        raise TypeError(
            f"{name} is {value!r}, which a checkpoint cannot hold; it holds numbers, strings, "
            "None, arrays, and lists, tuples and dicts of them."
        )

    def _is_like(self, value: object) -> bool:
        one_leaf = jax.tree_util.treedef_is_leaf(self._like)
        return not one_leaf and jax.tree.structure(value) == self._like

    def _array(self, value: Any, name: str) -> JSON:
        form: dict[str, JSON] = {"array": name}
        if isinstance(value, jax.Array):
            form["device"] = True
            if _is_key(value):
                form["key"] = str(jax.random.key_impl(value))
                value = jax.random.key_data(value)
            if self.arrays is not None:
                value = everywhere(value)
                if jax.process_index() == 0:  # which writes it
                    value.copy_to_host_async()
        else:
            if isinstance(value, np.generic):
                form["scalar"] = True
            value = np.array(value)
            if value.dtype.kind in "USO":
                return {"strings": value.tolist()}
        form["shape"], form["dtype"] = list(value.shape), str(value.dtype)
        if value.size and self.arrays is not None:
            self.arrays[name] = value
        return form


class Decoder:
    """Restores values that an `Encoder` encoded.

    Args:
        arrays: The arrays read.
        like: See `Encoder`.
    """

    def __init__(self, arrays: Arrays, like: PyTree = None):
        self.arrays = arrays
        self._leaves, self._like = jax.tree.flatten(like)

    def decode(self, form: JSON, template: object = None) -> Any:
        """The value that `form` stands for.

        Args:
            form: What `Encoder.encode` returned.
            template: The value that it replaces, for dataclasses and generators.
        """
        if not isinstance(form, Mapping):
            return [self.decode(x) for x in form] if isinstance(form, list) else form
        kind = next(iter(form))
        return getattr(self, f"_decode_{kind}")(form, template)

    def _decode_array(self, form: JSON, template: object) -> Any:
        dtype = jax.numpy.dtype(form["dtype"])
        size = int(np.prod(form["shape"]))
        value = self.arrays[form["array"]] if size else np.empty(form["shape"], dtype)
        if "scalar" in form:
            return value[()]
        if "device" not in form:
            return value
        device = placed(value, template)
        return jax.random.wrap_key_data(device, impl=form["key"]) if "key" in form else device

    def _decode_complex(self, form: JSON, template: object) -> complex:
        return complex(*form["complex"])

    def _decode_like(self, form: JSON, template: object) -> Any:
        pairs = zip(form["like"], self._leaves, strict=True)
        return jax.tree.unflatten(self._like, [self.decode(x, leaf) for x, leaf in pairs])

    def _decode_tuple(self, form: JSON, template: object) -> tuple[object, ...]:
        return tuple(self.decode(x) for x in form["tuple"])

    def _decode_deque(self, form: JSON, template: object) -> deque[object]:
        return deque(self.decode(form["deque"]), form["maxlen"])

    def _decode_dict(self, form: JSON, template: object) -> dict[object, object]:
        return {k: self.decode(v) for k, v in form["dict"]}

    def _decode_strings(self, form: JSON, template: object) -> np.ndarray:
        return np.array(form["strings"])

    def _decode_random_state(self, form: JSON, template: object) -> np.random.RandomState:
        restored = np.random.RandomState()
        restored.set_state(self.decode(form["random_state"]))
        return restored

    def _decode_generator(self, form: JSON, template: object) -> np.random.Generator:
        state = self.decode(form["generator"])
        restored = np.random.Generator(getattr(np.random, state["bit_generator"])())
        restored.bit_generator.state = state
        return restored

    def _decode_dataclass(self, form: JSON, template: Any) -> Any:
        fields = {
            name: self.decode(inner, getattr(template, name, None))
            for name, inner in form["dataclass"]["dict"]
        }
        return dataclasses.replace(template, **fields)


def pack(arrays: Arrays) -> tuple[Bytes, State]:
    """Copies of arrays one after another: one is written faster than many.

    Args:
        arrays: From an `Encoder`.

    Returns:
        Their bytes; and where each of them is: name -> (first byte, type, shape).
    """
    table, end = {}, 0
    for name, array in arrays.items():
        table[name] = [end, str(array.dtype), list(array.shape)]
        end += array.nbytes
    packed = np.zeros(max(end, 1), np.uint8)  # Orbax refuses an empty one
    for name, array in arrays.items():
        first = table[name][0]
        flat = np.ascontiguousarray(np.asarray(array)).reshape(-1)
        packed[first : first + array.nbytes] = flat.view(np.uint8)
    return packed, table


def unpack(packed: Bytes, table: State) -> Arrays:
    """The arrays by their names, from the result of `pack`."""
    found = {}
    for name, (first, dtype, shape) in table.items():
        size = int(np.prod(shape)) * jax.numpy.dtype(dtype).itemsize
        flat = packed[first : first + size].copy().view(jax.numpy.dtype(dtype))
        found[name] = flat.reshape(shape)
    return found


def placed(value: np.ndarray, template: object) -> jax.Array:
    """`value` on the devices where `template` is, if that is an array of JAX."""
    if isinstance(template, jax.Array) and _is_key(template):
        template = jax.random.key_data(template)
    if not isinstance(template, jax.Array) or not template.committed:
        found = jax.numpy.asarray(value)
        if getattr(template, "weak_type", False) and not value.ndim:
            weak = jax.numpy.asarray(value.item())
            return weak if weak.dtype == found.dtype else found
        return found
    return jax.make_array_from_callback(value.shape, template.sharding, lambda index: value[index])


def _is_key(array: jax.Array) -> bool:
    return jax.numpy.issubdtype(array.dtype, jax.dtypes.prng_key)
