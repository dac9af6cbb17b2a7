"""Read a file of cases that test a configuration, with all of its problems at once."""

from pydantic import ValidationError

from anchore_admission.documents.reader import load_documents
from anchore_admission.errors import ConfigurationError, DocumentError, Problem
from anchore_admission.models.cases import Case, Cases
from anchore_admission.services.config.problems import problems_of


def parse_cases(text: str | bytes, source: str) -> list[Case]:
    """Read cases; ``source`` names the file in the error. Raises ConfigurationError."""
    try:
        documents = load_documents(text, source=source, aliases=True)
        if len(documents) != 1:
            raise ConfigurationError(source, [Problem("", "expected one document with the key cases")])
        return Cases.model_validate(documents[0]).cases
    except DocumentError as error:
        raise ConfigurationError(source, error.problems) from error
    except ValidationError as error:
        raise ConfigurationError(source, problems_of(error, Cases)) from error
