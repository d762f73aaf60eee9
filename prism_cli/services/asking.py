"""Several questions to a model at once; each answer belongs to what was asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from prism_cli.errors import GeminiBusy, GeminiUnusable, PrismError, StorageFailed

About = TypeVar("About")
Answer = TypeVar("Answer")


def ask_each(
    ask: Callable[[About], Answer],
    about: Mapping[int, About],
    *,
    at_once: int,
    stop: Callable[[], None],
    moved: Callable[[int], None],
    patience: int | None = None,
) -> dict[int, Answer | PrismError]:
    """The answer about each, or the error for which it has none.

    at_once: questions at a time. stop: ends what waits to ask again. moved: told how many have been
    dealt with. patience: after so many GeminiBusy in a row no more is asked, and what is left has
    the last of them. Raises GeminiUnusable, and StorageFailed where an answer cannot be kept; then,
    as with Ctrl-C, nothing more is asked either.
    """
    answers: dict[int, Answer | PrismError] = {}
    in_a_row = 0
    last: PrismError | None = None
    with ThreadPoolExecutor(min(at_once, len(about))) as pool:
        asked = {pool.submit(ask, one): k for k, one in about.items()}
        try:
            for done in as_completed(asked):
                if done.cancelled() and last is not None:
                    answers[asked[done]] = last
                else:
                    try:
                        answers[asked[done]] = done.result()
                        in_a_row = 0
                    except (GeminiUnusable, StorageFailed):
                        raise
                    except PrismError as error:
                        answers[asked[done]] = last = error
                        in_a_row = in_a_row + 1 if isinstance(error, GeminiBusy) else 0
                    if in_a_row == patience:
                        for other in asked:
                            other.cancel()
                moved(len(answers))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()
            raise
    return answers
