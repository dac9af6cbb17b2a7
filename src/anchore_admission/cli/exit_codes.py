"""The exit codes of all commands, and the choice of the one for ``review`` and ``check``."""

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # every command needs the codes; only two need what this imports, and health must start fast
    from anchore_admission.services.reviews.summary import Summary


class ExitCode(IntEnum):
    """The exit codes of all commands; a name of its own for each meaning of a number."""

    OK = 0
    """``review`` and ``check``: all admitted. ``health``: the controller is ready. ``probe``: the webhook answers."""
    DENIED = 1
    """``review`` and ``check``: something is denied, or would newly be denied."""
    NOT_READY = 1
    """``health``: the controller is not ready or does not respond. Container engines know only 0 and 1."""
    NO_VERDICT = 1
    """``probe``: the webhook answers about an image without a verdict from Anchore."""
    TEST_FAILED = 1
    """``config test``: a case has another outcome than expected."""
    TO_DECIDE = 1
    """``config convert``: a person has to decide or to complete something."""
    FAILED = 2
    """Something could not be judged, read or done in time. Click uses it, too, if it rejects the command line."""
    NO_ANSWER = 2
    """``probe``: the webhook does not answer."""
    NOT_CHECKED = 3
    """``review`` and ``explain``: something was not checked, because its kind is unknown."""
    INTERRUPTED = 130
    """Interrupted by Ctrl-C: 128 and the number of SIGINT, as shells report it."""
    BROKEN_PIPE = 141
    """The reader of the output went away: 128 and the number of SIGPIPE. 1 would mean denied."""


CHECK_EXIT_CODES = (
    "Exit code: 0 all admitted, 1 something is denied, 2 something could not be judged or read, or not in time."
)
REVIEW_EXIT_CODES = (
    f"{CHECK_EXIT_CODES.removesuffix('.')}, 3 something was not checked: its kind is unknown. With --replay or "
    "--cluster: 0 nothing would newly be denied, 1 something would; 2 and 3 as above."
)
EXPLAIN_EXIT_CODES = (
    "Exit code: 0 all is explained, 2 something could not be read, 3 something was left out: its kind is unknown."
)


def exit_code(summary: "Summary") -> ExitCode:
    """Return the gravest outcome: a denial counts before a missing verdict, and that before an unknown kind."""
    if summary.denied:
        return ExitCode.DENIED
    if summary.undecided:
        return ExitCode.FAILED
    return ExitCode.NOT_CHECKED if summary.unchecked and not summary.ignores_unchecked else ExitCode.OK
