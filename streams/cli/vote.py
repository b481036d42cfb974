"""``moot vote``: vote on a post or comment, over the API."""

from enum import StrEnum
from typing import Annotated

import typer

from streams.cli.client import Client
from streams.cli.console import OK, PENDING, DataDir, Output, OutputOption, Refused, out, show_json, words
from streams.cli.post import As

_VOTE = """
mutation ($input: CastVoteInput!) {
  castVote(input: $input) {
    target { ... on Post { id score { total } } ... on Comment { id score { total } } }
    position
    errors { code message }
  }
}
"""


class Way(StrEnum):
    """Which way to vote."""

    UP = "up"
    DOWN = "down"
    NONE = "none"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("vote")(vote)


def vote(
    way: Annotated[Way, typer.Argument(help="none withdraws the vote.")],
    target: Annotated[
        str | None, typer.Argument(help="A post or comment. [default: the last post made here]", metavar="ID")
    ] = None,
    account: As = None,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Vote on a post or comment.

    Needs a running moot up, or the API of a fleet (MOOT_API_URL).
    """
    client = Client(data_dir)
    target = last_post(client, target)
    name = client.become(account)
    form = {"targetId": target, "value": way.upper()}
    answer = client.carry_out(_VOTE, form, "target", "Vote on something else: moot vote up ID")
    if output is Output.JSON:
        show_json(answer)
    elif answer["target"] is None:
        words.print(f"{name} voted {way}, but the views have not seen it yet. See: moot projections list")
    else:
        words.print(f"{name} voted {way}. The score is now:")
        out.print(answer["target"]["score"]["total"])
    return PENDING if answer["target"] is None else OK


def last_post(client: Client, target: str | None) -> str:
    """What was named, or else the last post that this client made."""
    if target or client.saved.post_id:
        return target or client.saved.post_id
    raise Refused("Which post?", "None was made from here yet.", 'moot post "Hello"')
