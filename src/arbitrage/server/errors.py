"""Errors as OpenAI's API gives them: a status, and a JSON object that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse


class ApiError(Exception):
    """What a client is told. status: HTTP's; code: a word for programs; param: the field of the request it is about."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.headers = status, message, code, param, headers

    @property
    def body(self) -> dict[str, Any]:
        """The object, as OpenAI documents it."""
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.body, self.status, self.headers)


def broken() -> ApiError:
    """A fault that is not the client's. The server's log says what it was, with paths that are nobody's business."""
    return ApiError(500, "a model failed on this request; the server's log says how", "model_failed")


def invalid(error: ValidationError) -> ApiError:
    """One thing that is wrong with a request: the innermost, for a field that may be of two types is wrong as both."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    first = max(errors, key=lambda each: len(each["loc"]))
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is no JSON: {first['msg']}", "invalid_json")
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"{name}: this server does not know it; leave it out", "unknown_parameter", name)
    return ApiError(400, f"{name}: {first['msg'].removeprefix('Value error, ')}", "invalid_value", name)
