"""GraphiQL, served from this very server: no content delivery network, no inline script."""

from starlette.types import Send

STATIC = "/graphql/static"
"""Where the files of ``read_api/static`` are served."""

# Its editor positions everything by style attributes, hence 'unsafe-inline' there.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Moot: GraphiQL</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{STATIC}/graphiql.min.css">
<link rel="stylesheet" href="{STATIC}/moot.css">
</head>
<body>
<div id="graphiql">Loading…</div>
<script src="{STATIC}/react.production.min.js"></script>
<script src="{STATIC}/react-dom.production.min.js"></script>
<script src="{STATIC}/graphiql.min.js"></script>
<script src="{STATIC}/graphql-ws.min.js"></script>
<script src="{STATIC}/moot.js"></script>
</body>
</html>
""".encode()


async def page(send: Send) -> None:
    """Send the page, with a content security policy of its own."""
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(_PAGE)).encode()),
        (b"content-security-policy", _POLICY.encode()),
        (b"cache-control", b"no-cache"),
        (b"vary", b"Accept"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _PAGE})
