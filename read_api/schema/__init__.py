"""The GraphQL schema, put together once."""

import strawberry
from graphql import GraphQLSchema, get_named_type, print_schema
from strawberry.schema.config import StrawberryConfig

from read_api.schema.channel_mutations import ChannelMutations
from read_api.schema.comments import Comment
from read_api.schema.conversation_mutations import ConversationMutations
from read_api.schema.conversation_subscriptions import ConversationSubscriptions
from read_api.schema.message_mutations import MessageMutations
from read_api.schema.mutations import AccountAndCommunityMutations, PostAndCommentMutations
from read_api.schema.presence import PresenceMutations, PresenceSubscriptions
from read_api.schema.queries import Query
from read_api.schema.server_mutations import ServerMutations
from read_api.sign_in import SignInMutations
from read_api.subscriptions import Subscription


@strawberry.type(description="What changes something. Each takes one `input`; what is refused is in `errors`.")
class Mutation(
    SignInMutations,
    AccountAndCommunityMutations,
    PostAndCommentMutations,
    ServerMutations,
    ChannelMutations,
    MessageMutations,
    ConversationMutations,
    PresenceMutations,
):
    """All mutations."""


@strawberry.type(name="Subscription", description="What is told as it happens, over WebSocket.")
class EverySubscription(Subscription, ConversationSubscriptions, PresenceSubscriptions):
    """All subscriptions."""


strawberry_schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=EverySubscription,
    types=[Comment],
    config=StrawberryConfig(relay_max_results=100),
)
"""The schema as Strawberry knows it."""

schema: GraphQLSchema = strawberry_schema._schema
"""The schema as it is executed."""

for _field in schema.mutation_type.fields.values() if schema.mutation_type else ():
    for _argument in _field.args.values():
        _argument.description = get_named_type(_argument.type).description


def sdl() -> str:
    """The schema in GraphQL's own language, descriptions included."""
    return print_schema(schema) + "\n"
