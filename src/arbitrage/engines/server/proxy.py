"""Which proxy of the environment a request takes: none to this machine, and none to what `no_proxy` names.

This is the one place where the environment is read for it: HTTP libraries differ in networks (10.0.0.0/8), ports, `*`
among others, and fail over proxies that they are not to use.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

_PROXY = re.compile(r"https?://(?:[^\s@]*@)?(?:\[[^\]\s]+\]|[^\s/:\[\]]+)(?::\d+)?/?")


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine itself, where a proxy elsewhere would reach another one."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (
        address.is_loopback or address.is_unspecified
    )  # 0.0.0.0, as servers name themselves


def proxy_for(url: str) -> str | None:
    """The proxy that the environment has for a URL; None where the way is direct, as to this machine it always is.

    Raises ValueError where it is no proxy for HTTP.
    """
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(url):
        return None
    host, port = (parts.hostname or "").rstrip("."), parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    if any(_excepts(entry, host, port) for entry in re.split(r"[,\s]+", proxies.get("no", "").lower()) if entry):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not _PROXY.fullmatch(proxy):
        raise ValueError(
            f"the environment has the proxy {without_password(proxy)} for {url}; expected http://HOST:PORT: correct "
            f"it, or export no_proxy={host} where the server is reached without"
        )
    return proxy


def without_password(proxy: str) -> str:
    """A proxy's URL as it may be shown."""
    scheme, _, rest = proxy.partition("://")
    return f"{scheme}://...@{rest.rpartition('@')[2]}" if "@" in rest else proxy


def _excepts(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of `no_proxy` names a host: `*`, a name or its ending, an address, a network; perhaps a port."""
    if entry == "*":
        return True
    if with_port := re.fullmatch(r"([^:]+|\[.+\]):(\d+)", entry):
        entry = with_port[1]
        if int(with_port[2]) != port:
            return False
    address = _address(host)
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        ending = entry.lstrip("*.").rstrip(".")
        return host == ending or host.endswith(f".{ending}")
    return address is not None and address in network


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A host's address where it is written as one; None for a name."""
    try:
        address = ipaddress.ip_address(host if ":" in host else socket.inet_aton(host))  # 127.1 is one too
    except (ValueError, OSError):
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
