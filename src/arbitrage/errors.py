"""The base class of every error that a user can cause or mend."""


class UserError(Exception):
    """Shown as one line, without a traceback: the message names the value, what was expected and the remedy."""
