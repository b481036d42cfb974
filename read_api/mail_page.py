"""The page of captured mail, for the person at the machine that Moot runs on.

It shows codes that confirm addresses, so it answers to nobody else: the connection must come from the machine itself,
the request must name it (a page elsewhere that was pointed at 127.0.0.1 by DNS does not), and must not have come
through a proxy. It has no script, and everything in a mail is shown as text.
"""

from base64 import b64encode
from hashlib import sha256
from html import escape
from ipaddress import ip_address

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from infra.mail import Mail, Mailbox

PAGE_LENGTH = 50
"""Mails on one page of the list."""
ID_MAX = 2**63 - 1

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8888}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:1rem;border:1px solid #8888}"
)
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def mail_routes(mailbox: Mailbox) -> list[Route]:
    """``GET /mail``, newest first, ``?before=ID`` for older ones, and ``GET /mail/ID``."""

    async def listed(request: Request) -> Response:
        if not _from_this_machine(request):
            return _refused()
        before = _number(request.query_params.get("before"))
        mails = await mailbox.newest(PAGE_LENGTH, before)
        return _page("Captured mail", _list(mails))

    async def shown(request: Request) -> Response:
        if not _from_this_machine(request):
            return _refused()
        number = _number(request.path_params["mail_id"])
        mail = None if number is None else await mailbox.read(number)
        if mail is None:
            return _page("No such mail", '<p>It may have been dropped. <a href="/mail">All mail</a></p>', 404)
        return _page(mail.subject, _one(mail))

    return [Route("/mail", listed, methods=["GET"]), Route("/mail/{mail_id}", shown, methods=["GET"])]


def _from_this_machine(request: Request) -> bool:
    if request.client is None or not _is_loopback(request.client.host):
        return False
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = request.headers.get("host", "")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _number(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:20]), ID_MAX)


def _list(mails: list[Mail]) -> str:
    if not mails:
        return "<p>No mail yet. Sign up, and the mail that confirms your address is shown here.</p>"
    rows = "".join(
        f'<tr><td><a href="/mail/{mail.mail_id}">{escape(mail.subject)}</a></td><td>{escape(mail.recipient)}</td>'
        f"<td>{_time(mail)}</td></tr>"
        for mail in mails
    )
    older = f'<p><a href="/mail?before={mails[-1].mail_id}">Older</a></p>' if len(mails) == PAGE_LENGTH else ""
    return f"<table><tr><th>Subject</th><th>To</th><th>Time</th></tr>{rows}</table>{older}"


def _one(mail: Mail) -> str:
    return (
        f"<p>To {escape(mail.recipient)}, {_time(mail)}</p><pre>{escape(mail.body)}</pre>"
        '<p><a href="/mail">All mail</a></p>'
    )


def _time(mail: Mail) -> str:
    return f"{mail.sent_at:%Y-%m-%d %H:%M:%S} UTC"


def _page(title: str, content: str, status: int = 200) -> HTMLResponse:
    document = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{content}</html>"
    )
    return HTMLResponse(document, status, HEADERS)


def _refused() -> HTMLResponse:
    return _page(
        "Not here", "<p>Captured mail is shown on the machine that Moot runs on only: open localhost.</p>", 403
    )
