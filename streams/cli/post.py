"""``moot post``: sign in and post, over the API."""

from typing import Annotated

import typer

from streams.cli.client import Client, code_of, refuse
from streams.cli.console import OK, DataDir, Output, OutputOption, out, show_json, words

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
    """Sign in and post. Needs a running moot up."""
    client = Client(data_dir)
    name = client.become(account)
    form = {"communityId": _community(client, community), "title": title, "body": body}
    answer = client.ask(_POST, {"input": form})["submitPost"]
    refuse(answer["errors"], "Change what it asks for and post again.")
    client.saved.post_id = answer["post"]["id"]
    client.save()
    if output is Output.JSON:
        show_json(answer)
    else:
        words.print(f"{name} posted to {community}:")
        out.print(client.saved.post_id, highlight=False)
    return OK


def _community(client: Client, name: str) -> str:
    found = client.ask(_COMMUNITY, {"name": name})["community"]
    if found is None:
        answer = client.ask(_CREATE, {"input": {"name": name, "title": name.capitalize()}})["createCommunity"]
        if answer["errors"] and code_of(answer["errors"][0]) != "NAME_TAKEN":
            refuse(answer["errors"], "Choose another one: --in NAME")
        found = answer["community"] or client.ask(_COMMUNITY, {"name": name})["community"]
        if found is None:
            refuse(answer["errors"], "It is private, or the views have not seen it yet; try again.")
    return str(found["id"])
