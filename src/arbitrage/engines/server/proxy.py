"""Which proxy of the environment a request would take: never for this machine, and named where one is in the way."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine itself, where a proxy elsewhere would reach another one."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host if ":" in host else socket.inet_aton(host))  # 127.1 is one too
    except (ValueError, OSError):
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback or address.is_unspecified  # 0.0.0.0, as servers name themselves


def proxy_for(url: str) -> str | None:
    """The proxy that the environment has for a URL, without its password; None where the way is direct."""
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    return proxy if "@" not in proxy else f"{proxy.partition('://')[0]}://...@{proxy.rpartition('@')[2]}"
