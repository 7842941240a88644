"""Sends requests: the only door of the worker to outbound HTTP, and the only place that uses aiohttp's internals."""

from pipeline.adapters.http.addresses import refused
from pipeline.adapters.http.authentication import Waited
from pipeline.adapters.http.connection import HttpConnection
from pipeline.adapters.http.oauth import TokenSource
from pipeline.adapters.http.sender import HttpSender, tls_context

__all__ = ["HttpConnection", "HttpSender", "TokenSource", "Waited", "refused", "tls_context"]
