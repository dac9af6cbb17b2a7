"""The errors of this program.

AnchoreAdmissionError
├── ReviewError                     a request that cannot be read: HTTP 4xx, no verdict
│   ├── MalformedReview
│   ├── ReviewTooLarge
│   ├── BodyTimeout
│   ├── Overloaded
│   ├── NotAuthorized
│   ├── NotPermitted
│   ├── NotVerified
│   ├── NotServed
│   ├── MethodNotAllowed
│   ├── NotLocal
│   └── UnsupportedMediaType
├── DocumentError                   an invalid YAML or JSON text: every problem with its line
├── ConfigurationError              invalid settings, rules, credentials or certificates: every problem at once
├── InvalidImageReference           a denial that names the container
├── ClusterError                    a failed call to the Kubernetes API: logged, counted, retried
│   ├── ClusterUnavailable          no connection, a timeout, a 5xx
│   ├── ClusterForbidden            401 or 403: a permission is missing
│   ├── ClusterNotFound             the object does not exist; the controller creates none
│   ├── ClusterConflict             another client changed the object first
│   ├── ClusterRefused              the API server rejects the request as invalid
│   └── ProbeFailed                 the controller's own webhook does not respond through its Service
│       └── ClientCertificateWanted     ... because it requires a client certificate
└── EvaluationError                 no verdict: the rule's ``onError`` applies
    ├── AnchoreUnavailable          a timeout, a 5xx, a part of Anchore that is down
    │   ├── AnchoreUnreachable          no connection: no request was sent, so none can be the cause
    │   └── AnchoreSuspended            not called, because it has just failed again and again
    ├── AnchoreRefused              401 or 403: wrong credentials, no permission (or Anchore's database is down)
    ├── AnchoreResponseInvalid      a response that does not match Anchore's API
    │   └── AnchoreResponseTooLarge     a response of more bytes than limits.anchoreResponse
    ├── AnalysisRefused             Anchore does not analyze the image, and says why
    ├── PolicyNotFound              the policy of a rule does not exist
    ├── PolicyNotEvaluated          Anchore responded without evaluating the policy
    ├── HookError                   no decision of the other policy engine: the hook's own ``onError`` applies
    │   ├── HookUnavailable             no connection, a failed call, an error of the policy
    │   ├── HookUndefined               the policy is not loaded, or has no rule ``deny``
    │   ├── HookInvalid                 an answer in another form
    │   ├── HookFailed                  the policy fails on this object, or says too much about it: a denial
    │   └── HookNotAsked                the object is too large, or its namespace's reviews too many: a denial
    └── DeadlineExceeded            the deadline of the review has passed
        └── ImageNotReached         ... because the object names many images: denied whatever ``onError`` says
            └── AnchoreBusy             ... because too many calls of its namespace wait for Anchore

An image that is unknown to Anchore, not analyzed or failed by a policy is a fact, not an error.
"""

from dataclasses import dataclass
from typing import ClassVar


class AnchoreAdmissionError(Exception):
    """Base of all errors; ``code`` is the stable name of each in metrics, logs and audit annotations."""

    code: ClassVar[str] = "error"


class ReviewError(AnchoreAdmissionError):
    """A request that cannot be read; ``status`` and ``reason`` are those of the response."""

    code = "review"
    status: ClassVar[int] = 400
    reason: ClassVar[str] = "BadRequest"


class MalformedReview(ReviewError):
    code = "malformed_review"


class ReviewTooLarge(ReviewError):
    code = "review_too_large"
    status = 413
    reason = "RequestEntityTooLarge"


class BodyTimeout(ReviewError):
    code = "body_timeout"
    status = 408
    reason = "Timeout"


class Overloaded(ReviewError):
    code = "overloaded"
    status = 429
    reason = "TooManyRequests"


class NotAuthorized(ReviewError):
    code = "not_authorized"
    status = 401
    reason = "Unauthorized"


class NotPermitted(ReviewError):
    """A caller that is known, but may not ask."""

    code = "not_permitted"
    status = 403
    reason = "Forbidden"


class NotVerified(ReviewError):
    """A caller of whom it cannot be told at the moment who it is."""

    code = "not_verified"
    status = 503
    reason = "ServiceUnavailable"


class NotServed(ReviewError):
    code = "not_found"
    status = 404
    reason = "NotFound"


class MethodNotAllowed(ReviewError):
    """A path was called with another method than the ``allowed`` one."""

    code = "method_not_allowed"
    status = 405
    reason = "MethodNotAllowed"

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(f"the method is not allowed here: use {allowed}")


class NotLocal(ReviewError):
    """A path that only processes in the same Pod may call."""

    code = "not_local"
    status = 403
    reason = "Forbidden"


class UnsupportedMediaType(ReviewError):
    code = "unsupported_media_type"
    status = 415
    reason = "UnsupportedMediaType"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: its path, such as ``rules[1].match.images[0]`` or a line, and the expected value."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class _ListedProblems(AnchoreAdmissionError):
    """All problems of one text; ``source`` names its file or its origin."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join([f"{source}: {len(problems)} problem(s)", *(f"  {p}" for p in problems)]))


class DocumentError(_ListedProblems):
    code = "document"


class ConfigurationError(_ListedProblems):
    code = "configuration"


class InvalidImageReference(AnchoreAdmissionError):
    code = "invalid_image_reference"


class InvalidPattern(AnchoreAdmissionError):
    """A regular expression that RE2 cannot read, or one that needs too much memory."""

    code = "invalid_pattern"


class EvaluationError(AnchoreAdmissionError):
    """No verdict is possible; the text is safe in a denial and holds no secret."""

    code = "evaluation"


class AnchoreUnavailable(EvaluationError):
    code = "unavailable"


class AnchoreUnreachable(AnchoreUnavailable):
    """No connection could be made. Its ``code`` stays ``unavailable``: the message tells the difference."""


class AnchoreSuspended(AnchoreUnavailable):
    code = "suspended"


class AnchoreRefused(EvaluationError):
    code = "refused"


class AnchoreResponseInvalid(EvaluationError):
    code = "invalid_response"


class AnchoreResponseTooLarge(AnchoreResponseInvalid):
    code = "reply_too_large"


class AnalysisRefused(EvaluationError):
    """Anchore rejected a submission; the text is the reason in plain words."""

    code = "analysis_refused"


class PolicyNotFound(EvaluationError):
    code = "policy_not_found"


class PolicyNotEvaluated(EvaluationError):
    code = "policy_not_evaluated"


class HookError(EvaluationError):
    """No decision of the other policy engine."""

    code = "hook"


class HookUnavailable(HookError):
    code = "hook_unavailable"


class HookUndefined(HookError):
    code = "hook_undefined"


class HookInvalid(HookError):
    code = "hook_invalid"


class HookFailed(HookError):
    """The hook decides about other objects. An author may have caused it: it denies whatever ``onError`` says."""

    code = "hook_failed"


class HookNotAsked(HookError):
    """An author may have caused it: it denies whatever ``onError`` says."""

    code = "hook_not_asked"


class DeadlineExceeded(EvaluationError):
    code = "deadline_exceeded"


class ImageNotReached(DeadlineExceeded):
    """An author may have caused it: it denies whatever ``onError`` says, and no older answer stands in."""

    code = "not_reached"

    def __init__(self, reason: str = "the object names too many images to look them all up") -> None:
        super().__init__(reason)


class AnchoreBusy(ImageNotReached):
    code = "busy"

    def __init__(
        self, reason: str = "too many lookups of this namespace wait for Anchore; try again in a few seconds"
    ) -> None:
        super().__init__(reason)


class ClusterError(AnchoreAdmissionError):
    """A failed call to the Kubernetes API; the text holds no secret."""

    code = "cluster"


class ClusterUnavailable(ClusterError):
    code = "unavailable"


class ClusterForbidden(ClusterError):
    code = "forbidden"


class ClusterNotFound(ClusterError):
    code = "not_found"


class ClusterConflict(ClusterError):
    code = "conflict"


class ClusterRefused(ClusterError):
    code = "refused"


class ClusterExpired(ClusterError):
    """A resource version or a page of a list that the API server no longer has (410)."""

    code = "expired"


class ClusterResponseInvalid(ClusterError):
    code = "invalid_response"


class ProbeFailed(ClusterError):
    code = "probe_failed"


class ClientCertificateWanted(ProbeFailed):
    """The webhook closed the connection after showing its certificate: it requires one of the client, too."""
