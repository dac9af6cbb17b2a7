"""The application on the webhook port: admission, reviews by hand, and their documentation with bundled assets."""

from dataclasses import dataclass

from starlette.types import ASGIApp

from anchore_admission.core.webhook.entry import MUTATE_PATH, VALIDATE_PATH
from anchore_admission.web.admission import AdmissionEndpoint
from anchore_admission.web.documentation import DOCUMENT, PAGE, documentation
from anchore_admission.web.manual import ManualEndpoint
from anchore_admission.web.routing import Route, Routes
from anchore_admission.web.safe_headers import SAFE_HEADERS, SafeHeaders

VALIDATE = VALIDATE_PATH
MUTATE = MUTATE_PATH
REVIEW = "/review"


@dataclass(frozen=True, slots=True)
class Surfaces:
    """The endpoints of the webhook port; without ``manual`` there are no reviews by hand and no documentation."""

    validate: AdmissionEndpoint
    mutate: AdmissionEndpoint
    manual: ManualEndpoint | None


def create_app(surfaces: Surfaces) -> ASGIApp:
    """Build the application. Only API servers call the webhooks, so their responses need no headers for browsers."""
    routes = {VALIDATE: Route("POST", surfaces.validate), MUTATE: Route("POST", surfaces.mutate)}
    listed = f"POST {VALIDATE}, POST {MUTATE}"
    if surfaces.manual:
        for path, route in {REVIEW: Route("POST", surfaces.manual), **documentation()}.items():
            routes[path] = route._replace(app=SafeHeaders(route.app))
        listed += f", POST {REVIEW}, GET {PAGE}, GET {DOCUMENT}"
    return Routes(routes, listed=listed, error_headers=SAFE_HEADERS)
