"""One delivery of a webhook: HubSpot's signature, and a POST of which only the status is read."""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
from contextlib import suppress
from urllib.parse import urlsplit

_DECODED = re.compile(r"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)")


def signed(secret: str, url: str, body: bytes, stamp_ms: int, method: str = "POST") -> dict[str, str]:
    """The headers that HubSpot puts on a delivery; the old signature goes along, as HubSpot still sends it."""
    address = _DECODED.sub(lambda found: chr(int(found[1], 16)), url)
    text = method.encode() + address.encode() + body + str(stamp_ms).encode()
    return {
        "Content-Type": "application/json",
        "X-HubSpot-Signature-v3": base64.b64encode(hmac.digest(secret.encode(), text, "sha256")).decode(),
        "X-HubSpot-Request-Timestamp": str(stamp_ms),
    }


async def post(url: str, headers: dict[str, str], body: bytes, within: float) -> int:
    """The status of the answer; 0 when there was none in time."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            try:
                writer.write(head + body)
                status = await reader.readline()
                await reader.read()  # cut off half way, some servers count the answer as failed
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
            return int(status.split()[1])
    except (OSError, TimeoutError, IndexError, ValueError):
        return 0
