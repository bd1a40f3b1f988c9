"""Threads of BLAS and LAPACK, which compute NumPy's linear algebra."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def with_one_blas_thread(function: F) -> F:
    """Let BLAS and LAPACK take one thread while `function` runs.

    On matrices with a few hundred columns several threads mostly wait for each other:
    on a busy machine a QR decomposition then took thirty times as long as with one.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="blas"):
            return function(*arguments, **options)

    return cast(F, call)
