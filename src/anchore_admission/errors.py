"""The taxonomy of what can go wrong.

AnchoreAdmissionError
├── ReviewError                 a call to us that cannot be read: HTTP 4xx, no verdict
│   ├── MalformedReview
│   ├── ReviewTooLarge
│   ├── BodyTimeout
│   ├── Overloaded
│   ├── NotServed
│   ├── MethodNotAllowed
│   └── UnsupportedMediaType
├── DocumentError               a YAML or JSON text that cannot be read: each problem with its line
├── ConfigurationError          wrong settings or rules: every problem listed, the last good ones stay in use
├── InvalidImageReference       a denial that names the container
├── ClusterError                the cluster cannot do what the process needs: told, counted, tried again
│   ├── ClusterUnavailable      no connection, a timeout, a 5xx
│   ├── ClusterForbidden        401 or 403: a permission is missing
│   ├── ClusterNotFound         the object does not exist; we create none
│   ├── ClusterConflict         somebody else was faster
│   ├── ClusterRefused          what was sent is not valid there
│   └── ProbeFailed             our own webhook, called through its Service, does not answer
│       └── ClientCertificateWanted     ... because it wants an API server's certificate
└── EvaluationError             no verdict: the rule's ``onError`` speaks
    ├── AnchoreUnavailable      no connection, a timeout, a 5xx, a part of Anchore that is down
    ├── AnchoreRefused          401 or 403: wrong credentials, no permission (or Anchore's database is down)
    ├── AnchoreReplyInvalid     an answer that is not what the API promises
    │   └── AnchoreReplyTooLarge    an answer of more bytes than limits.anchoreResponse
    ├── AnalysisRefused         Anchore will not analyse the image, and says why
    ├── PolicyNotFound          the policy that a rule names does not exist
    ├── PolicyNotEvaluated      Anchore answered, but did not evaluate the policy
    └── DeadlineExceeded        the review's time ran out
        └── ImageNotReached     ... before the turn of an image among many came

That Anchore does not know an image, has not analysed it or fails it are facts, not errors.
"""

from dataclasses import dataclass
from typing import ClassVar


class AnchoreAdmissionError(Exception):
    """Base of every error of ours; ``code`` is its stable name in metrics, logs and audit annotations."""

    code: ClassVar[str] = "error"


class ReviewError(AnchoreAdmissionError):
    """A call that cannot be read; ``status`` is the HTTP status of the answer."""

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


class UnsupportedMediaType(ReviewError):
    code = "unsupported_media_type"
    status = 415
    reason = "UnsupportedMediaType"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is (a path such as ``rules[1].match.images[0]``) and what was expected there."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class _ListedProblems(AnchoreAdmissionError):
    """Everything that is wrong with one text, at once; ``source`` is its file's name or what stands for it."""

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


class EvaluationError(AnchoreAdmissionError):
    """No verdict can be given; the text is fit for a denial message and holds no secret."""

    code = "evaluation"


class AnchoreUnavailable(EvaluationError):
    code = "unavailable"


class AnchoreRefused(EvaluationError):
    code = "refused"


class AnchoreReplyInvalid(EvaluationError):
    code = "invalid_reply"


class AnchoreReplyTooLarge(AnchoreReplyInvalid):
    code = "reply_too_large"


class AnalysisRefused(EvaluationError):
    """Anchore answered a submission with a refusal; the text is its reason in plain words."""

    code = "analysis_refused"


class PolicyNotFound(EvaluationError):
    code = "policy_not_found"


class PolicyNotEvaluated(EvaluationError):
    code = "policy_not_evaluated"


class DeadlineExceeded(EvaluationError):
    code = "deadline_exceeded"


class ImageNotReached(DeadlineExceeded):
    code = "not_reached"


class ClusterError(AnchoreAdmissionError):
    """A call to the Kubernetes API that did not do what it should; the text holds no secret."""

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


class ProbeFailed(ClusterError):
    code = "silent"


class ClientCertificateWanted(ProbeFailed):
    """The webhook has shown its own certificate and ended the connection, as it does without a client certificate."""
