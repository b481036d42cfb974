"""``moot post``: sign in and post, over the API."""

from typing import Annotated

import typer

from streams.cli.client import Client
from streams.cli.console import OK, PENDING, DataDir, Output, OutputOption, Refused, out, show_json, words

_COMMUNITY = "query ($name: String!) { community(name: $name) { id } }"
_CREATE = """
mutation ($input: CreateCommunityInput!) {
  createCommunity(input: $input) { community { id } errors { code message } }
}
"""
_POST = """
mutation ($input: SubmitPostInput!) {
  submitPost(input: $input) { post { id title score { total } } position errors { code message } }
}
"""

As = Annotated[
    str | None, typer.Option("--as", help="Who does it; signed up if new. [default: who did it last]", metavar="NAME")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("post")(post)


def post(
    title: Annotated[str, typer.Argument(help="The title, one line.")],
    *,
    body: Annotated[str, typer.Option("--body", help="The text, in Markdown.")] = "",
    community: Annotated[str, typer.Option("--in", help="Where; made if there is none.", metavar="NAME")] = "welcome",
    account: As = None,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Sign in and post.

    Needs a running moot up, or the API of a fleet (MOOT_API_URL).
    """
    client = Client(data_dir)
    name = client.become(account)
    form = {"communityId": _community(client, community), "title": title, "body": body}
    answer = client.carry_out(_POST, form, "post", "Change what it asks for and post again.")
    if answer["post"] is not None:
        client.saved.post_id = answer["post"]["id"]
        client.save()
    if output is Output.JSON:
        show_json(answer)
    elif answer["post"] is None:
        words.print(
            f"{name} posted to {community}, but the views have not seen it yet. See: moot projections list\n"
            "The same command again shows the post, and does not post it twice."
        )
    else:
        words.print(f"{name} posted to {community}:")
        out.print(client.saved.post_id, highlight=False)
    return PENDING if answer["post"] is None else OK


def _community(client: Client, name: str) -> str:
    found = client.ask(_COMMUNITY, {"name": name})["community"]
    if found is None:
        form = {"name": name, "title": name.capitalize()}
        try:
            found = client.carry_out(_CREATE, form, "community", "Choose another one: --in NAME")["community"]
        except Refused:
            # Somebody may have made it meanwhile.
            found = client.ask(_COMMUNITY, {"name": name})["community"]
            if found is None:
                raise
    if found is None:
        raise Refused(
            f"{name} is made, but the views have not seen it yet.", "See: moot projections list", "Try again."
        )
    return str(found["id"])
