"""A callback made of plain functions."""

import types

from ritz.driver.callback import HOOKS, AbstractCallback, CallbackOrder, Hook, never_live


class LambdaCallback(AbstractCallback):
    """Calls the given functions in the hooks of the same names.

    Args:
        order: The `callback_order`.
        live: Whether the functions read or change the driver's state.
        **functions: Hook name -> function with that hook's arguments.

    Raises:
        TypeError: If a name is not that of a hook.
    """

    def __init__(
        self,
        *,
        order: int = CallbackOrder.USER,
        live: bool = True,
        **functions: Hook,
    ):
        for hook, function in functions.items():
            if hook not in HOOKS:
                raise TypeError(f"{hook!r} is not a hook; the hooks are: {', '.join(HOOKS)}.")
            if not callable(function):
                raise TypeError(f"{hook} must be a function, but {function!r} was given.")
            setattr(self, hook, function)
        self.callback_order = order
        if not live:
            self.is_live = types.MethodType(never_live, self)
