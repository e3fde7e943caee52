"""A climb of one start by the steps of a method: compiled in a fifth of the time that the harness's loop takes.

The tests compile without optimisation, and what steps in the harness says itself that it is compiled with.
"""

import jax

from workbench.methods import Info, Method
from workbench.mixture import Mixture
from workbench.problem import Problem


def climbed(method: Method, problem: Problem, start: Mixture) -> tuple[Mixture, list[Info]]:
    """Where a method stops, and what each of its steps says."""
    (end,), (infos,) = all_climbed(method, problem, [start])
    return end, infos


def all_climbed(method: Method, problem: Problem, starts: list[Mixture]) -> tuple[list[Mixture], list[list[Info]]]:
    """The same for several starts of one problem, by one program."""
    algorithm, key = method.bind(problem), jax.random.key(0)
    init, step = jax.jit(algorithm.init), jax.jit(algorithm.step)
    ends, said = [], []
    for start in starts:
        state, infos = init(key, start), list[Info]()
        while not infos or not infos[-1].stopped:
            state, info = step(key, state)
            infos.append(info)
        ends.append(algorithm.mixture(state))
        said.append(infos)
    return ends, said
