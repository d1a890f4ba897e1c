"""What keeps results from being verified or published."""


class VerifyError(ValueError):
    """There is nothing that could be verified; the message says what was expected there."""


class ExportError(ValueError):
    """Results that are not fit to be published; the message says why, and how to see more."""
