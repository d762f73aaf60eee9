"""What is asked of the Hub: again, where it may pass; and in a sentence, where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from prism_cli.errors import (
    BaseGated,
    BaseNotFound,
    DownloadDamaged,
    HubUnreachable,
    PrismError,
)

P = ParamSpec("P")
T = TypeVar("T")

_TRIES = 3  # of each request, on top of what huggingface_hub repeats by itself


@dataclass(frozen=True, slots=True)
class Source:
    """What is pulled. name: as the user calls it. revision: a branch, a tag or a commit.

    command: what does it again. newest: what takes the newest revision instead, if that helps.
    """

    name: str
    repository: str
    revision: str
    command: str
    newest: str = ""


def patiently(call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """`call`, again after a while where it fails in a way that may pass by itself."""
    retrying = Retrying(
        stop=stop_after_attempt(_TRIES),
        wait=wait_exponential(max=8),
        retry=retry_if_exception(_may_pass),
        reraise=True,
    )
    return retrying(call, *args, **options)


def _may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed later: not where there is no network at all."""
    cause = _cause(error)
    if isinstance(cause, HfHubHTTPError):
        return cause.response.status_code >= 500 or cause.response.status_code in {408, 429}
    if isinstance(cause, httpx2.ConnectError | httpx2.ProxyError | OfflineModeIsEnabled):
        return False
    lost = httpx2.TransportError | ConnectionError | TimeoutError  # the latter two are Xet's
    return isinstance(cause, lost | DownloadDamaged)


def _cause(error: BaseException) -> BaseException:
    """What went wrong, where huggingface_hub says only that the file is not in the cache either."""
    return (error.__cause__ or error) if isinstance(error, LocalEntryNotFoundError) else error


@contextmanager
def told(source: Source) -> Iterator[None]:
    """Turn what huggingface_hub and its connections raise into a sentence with what mends it."""
    try:
        yield
    except (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        FileMetadataError,
        httpx2.HTTPError,
        ConnectionError,
        TimeoutError,
    ) as error:
        raise _sentence(source, _cause(error)) from error


def _sentence(source: Source, cause: BaseException) -> PrismError:
    repository, again = source.repository, source.command
    page = f"https://huggingface.co/{repository}"
    kept = "what has arrived whole is kept"
    match cause:
        case OfflineModeIsEnabled():
            return HubUnreachable(
                "nothing is downloaded while HF_HUB_OFFLINE is set",
                hint=f"unset it and run: {again}; mini needs no download",
            )
        case GatedRepoError():
            return BaseGated(
                f"{repository} is for users who have accepted its licence",
                hint=f"accept it at {page}, then: hf auth login, then: {again}",
            )
        case RevisionNotFoundError():
            return BaseNotFound(
                f"{repository} has no revision {source.revision!r}",
                hint=f"its branches, tags and commits are at {page}/commits/main"
                + (f"; the newest: {source.newest}" if source.newest else ""),
            )
        case RepositoryNotFoundError():
            return BaseNotFound(
                f"there is no repository {repository} on the Hub, or it is private",
                hint="check the name; a private one needs: hf auth login",
            )
        case HfHubHTTPError(response=response) if response.status_code in {401, 403}:
            return BaseGated(
                f"the Hub does not let you download {repository}, and answers"
                f" {response.status_code}",
                hint=f"look at {page}, log in with: hf auth login, then: {again}",
            )
        case HfHubHTTPError(response=response):
            return HubUnreachable(
                f"the Hub answers {response.status_code} when asked for {repository}",
                hint=f"wait a while and run: {again}; {kept}",
            )
        case FileMetadataError():
            return HubUnreachable(
                f"what answers at {constants.ENDPOINT} is not the Hub",
                hint="look at HF_ENDPOINT and the proxy",
            )
    return HubUnreachable(
        f"cannot reach {constants.ENDPOINT}, or lost it on the way ({type(cause).__name__})",
        hint=f"with a network, run: {again}; {kept}, and mini needs no network",
    )
