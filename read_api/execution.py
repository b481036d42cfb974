"""From the text of an operation to its result: parse, validate and weigh once, execute often.

What is learnt about a document is kept, bounded by the length of the texts kept, so that the second identical
request neither parses nor validates. Documents that are refused are not kept: nobody can push good ones out with
cheap nonsense.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from inspect import isawaitable
from typing import Any

import psycopg
import structlog
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    execute,
    parse,
    specified_rules,
    validate,
)
from graphql.execution.values import VariableValues, get_variable_values
from psycopg_pool import PoolTimeout, TooManyRequests
from redis import RedisError
from strawberry import Schema
from strawberry.schema.schema_converter import GraphQLCoreConverter

from commands.ports import IdsUnavailable, StoreUnavailable
from infra.cassandra.errors import CassandraError
from infra.telemetry import metrics
from read_api.columns import Run
from read_api.context import Context
from read_api.cursors import seal_position
from read_api.errors import ApiCode, ApiError
from read_api.limits import Cost, Limits, refusals, too_complex
from read_api.plans import Plans, Unplannable

log = structlog.get_logger("moot.api")

UNAVAILABLE = (
    StoreUnavailable,
    IdsUnavailable,
    CassandraError,
    psycopg.OperationalError,
    PoolTimeout,
    TooManyRequests,
    RedisError,
    ConnectionError,
)
"""What an engine that does not answer raises: the client may try again."""

_TOO_LONG = re.compile(r"contains more than \d+ (tokens|comments)")
"""How the parser says that the limit of tokens is reached; it has no class of error for that."""

VARIABLE_ERRORS_MAX = 20
"""How many wrong variables are told of at once."""

Response = dict[str, Any]
"""An answer as the GraphQL specification has it: ``data``, ``errors``, ``extensions``."""


class Operation:
    """One operation of a document: its node, kind and cost."""

    __slots__ = ("cost", "kind", "node", "plans")

    def __init__(
        self,
        schema: GraphQLSchema,
        converter: GraphQLCoreConverter,
        document: DocumentNode,
        node: OperationDefinitionNode,
    ) -> None:
        self.node = node
        self.kind: OperationType = node.operation
        self.cost = Cost(schema, document, node)
        self.plans = Plans(schema, converter, document, node)


class Prepared:
    """A document that is valid and within the limits."""

    __slots__ = ("document", "operations")

    def __init__(self, schema: GraphQLSchema, converter: GraphQLCoreConverter, document: DocumentNode) -> None:
        self.document = document
        self.operations = {
            node.name.value if node.name else None: Operation(schema, converter, document, node)
            for node in document.definitions
            if isinstance(node, OperationDefinitionNode)
        }

    def kind(self, name: str | None) -> str:
        """What kind of operation that is, for the metrics."""
        try:
            return self.operation(name).kind.value
        except ApiError:
            return "none"

    def operation(self, name: str | None) -> Operation:
        """The operation of that name, or the only one. Raises ``ApiError`` if there is none or no telling which."""
        if not name:
            if len(self.operations) == 1:
                return next(iter(self.operations.values()))
            raise ApiError(ApiCode.BAD_REQUEST, "The document has several operations: name one in operationName.")
        if name not in self.operations:
            raise ApiError(ApiCode.BAD_REQUEST, f"The document has no operation named {name[:100]!r}.")
        return self.operations[name]


class Refused(Exception):
    """A document that cannot be executed: it does not parse, is not valid, or asks for too much."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(errors[0].message)
        self.errors = errors


class Engine:
    """Executes operations against one schema, for HTTP and WebSocket alike."""

    def __init__(self, schema: Schema, limits: Limits, *, cached_characters_max: int) -> None:
        self.schema = schema._schema
        self._converter = schema.schema_converter
        self.limits = limits
        self.validations = 0
        """How many documents were parsed and validated so far; the rest came from the cache."""
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self.cached_characters = 0
        """How long the texts of the cached documents are together."""
        self._characters_max = cached_characters_max

    def prepare(self, text: str) -> Prepared:
        """The document ready to run, from the cache if it was met before. Raises ``Refused``."""
        known = self._prepared.get(text)
        if known is not None:
            self._prepared.move_to_end(text)
            return known
        self.validations += 1
        prepared = self._prepare(text)
        self._prepared[text] = prepared
        self.cached_characters += len(text)
        while self.cached_characters > self._characters_max:
            oldest, _ = self._prepared.popitem(last=False)
            self.cached_characters -= len(oldest)
        return prepared

    def _prepare(self, text: str) -> Prepared:
        try:
            # Comments count: they cost the lexer as much as anything else does.
            document = parse(text, max_lexical_tokens=self.limits.tokens_max, max_comments=self.limits.tokens_max)
        except GraphQLError as error:
            too_long = _TOO_LONG.search(error.message) is not None
            error.extensions = {"code": (ApiCode.QUERY_TOO_COMPLEX if too_long else ApiCode.BAD_REQUEST).value}
            raise Refused([error]) from None
        errors = validate(self.schema, document, specified_rules, max_errors=20)
        for invalid in errors:
            invalid.extensions = {"code": ApiCode.BAD_REQUEST.value, **(invalid.extensions or {})}
        errors = errors or refusals(document, self.limits)
        if errors:
            raise Refused(errors)
        return Prepared(self.schema, self._converter, document)

    def weigh(self, operation: Operation, variables: Mapping[str, Any] | None) -> VariableValues | list[GraphQLError]:
        """The coerced variables, or what is wrong with them.

        Raises ``ApiError`` with ``QUERY_TOO_COMPLEX`` if the operation costs too much with them.
        """
        values = get_variable_values(
            self.schema,
            operation.node.variable_definitions or (),
            dict(variables or {}),
            max_errors=VARIABLE_ERRORS_MAX,
        )
        if isinstance(values, list):
            return values
        cost = operation.cost.of(values.coerced, self.limits.page_size_max)
        if cost > self.limits.cost_max:
            raise too_complex("cost", cost, self.limits.cost_max)
        return values

    async def execute(
        self, prepared: Prepared, operation_name: str | None, variables: Mapping[str, Any] | None, context: Context
    ) -> Response:
        """Run a query or mutation. Whatever happens is in the answer; nothing is raised but cancellation.

        An answer without ``data`` was refused before anything ran.
        """
        began = time.perf_counter()
        response = await self._execute(prepared, operation_name, variables, context)
        kind = prepared.kind(operation_name)
        metrics.OPERATION_SECONDS.labels(kind).observe(time.perf_counter() - began)
        metrics.OPERATIONS.labels(kind, _outcome(response)).inc()
        return response

    async def _execute(
        self, prepared: Prepared, operation_name: str | None, variables: Mapping[str, Any] | None, context: Context
    ) -> Response:
        try:
            operation = prepared.operation(operation_name)
            values = self.weigh(operation, variables)
            if isinstance(values, list):
                result = ExecutionResult(None, values)
            else:
                if operation.kind is not OperationType.QUERY:
                    context.reading.on_primary()
                progress = context.moot.progress
                if context.position is not None:
                    await self._catch_up(context)
                doubts = progress.doubts
                result = await self._run(prepared, operation, values, variables, context)
                if progress.doubts != doubts:
                    context.stale = True  # some of it was perhaps read from views that a crash had put back
        except ApiError as error:
            return refused([error], context.request_id)
        except UNAVAILABLE as error:
            return refused([GraphQLError(str(error), original_error=error)], context.request_id)
        return self.answer(result, context)

    async def _run(
        self,
        prepared: Prepared,
        operation: Operation,
        values: VariableValues,
        variables: Mapping[str, Any] | None,
        context: Context,
    ) -> ExecutionResult:
        """By its plan, or by graphql-core what has none, such as introspection."""
        try:
            plan = operation.plans.plan(values)
        except Unplannable:
            name = operation.node.name
            result = execute(
                self.schema,
                prepared.document,
                context_value=context,
                variable_values=dict(variables or {}),
                operation_name=name.value if name else None,
            )
            return await result if isawaitable(result) else result
        run = Run(context, values)
        return await (run.mutation(plan) if operation.kind is OperationType.MUTATION else run.query(plan))

    def answer(self, result: ExecutionResult, context: Context) -> Response:
        """A result as the client reads it: errors masked and with codes, and whether the views had caught up."""
        response: Response = {}
        if result.errors:
            response["errors"] = [formatted(error, context.request_id) for error in result.errors]
        if result.data is not None or not _before_execution(result):
            response["data"] = result.data
        if context.position is not None:
            response["extensions"] = {
                "consistency": {"position": seal_position(context.sealer, context.position), "stale": context.stale}
            }
        return response

    async def _catch_up(self, context: Context) -> None:
        assert context.position is not None
        context.stale = not await context.moot.progress.wait(context.position)
        await context.reading.see(context.position)


def _outcome(response: Response) -> str:
    """For the metrics: whether it was all right, wrong of the client, or wrong of us."""
    errors = response.get("errors")
    if not errors:
        return "ok"
    codes = {error["extensions"]["code"] for error in errors}
    if ApiCode.INTERNAL.value in codes:
        return "failed"
    if ApiCode.UNAVAILABLE.value in codes:
        return "unavailable"
    return "refused"


def _before_execution(result: ExecutionResult) -> bool:
    """Whether it failed before any field was resolved, as with variables of a wrong type: then there is no data."""
    return all(error.path is None for error in result.errors or ())


def refused(errors: list[GraphQLError], request_id: str) -> Response:
    """The answer to what was not executed."""
    return {"errors": [formatted(error, request_id) for error in errors]}


def formatted(error: GraphQLError, request_id: str) -> Response:
    """A top-level error as the client reads it. What is ours alone is logged and masked."""
    original: BaseException | None = error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    if isinstance(original, GraphQLError):
        code = str((original.extensions or {}).get("code", ApiCode.BAD_REQUEST.value))
        message = error.message
        extensions = {**(original.extensions or {}), "code": code}
    elif isinstance(original, UNAVAILABLE):
        log.error("unavailable", request_id=request_id, path=error.path, error=repr(original))
        # Below the root what was to be done is done: how that reads now is lacking.
        deep = len(error.path or ()) > 1
        told = "The rest of this answer holds; read this part" if deep else "Nothing is known to have changed; try"
        message = f"A service that this needs does not answer. {told} again in a moment."
        extensions = {"code": ApiCode.UNAVAILABLE.value}
    else:
        log.error("fault", request_id=request_id, path=error.path, error=repr(original), exc_info=original)
        message = "Internal error. It was logged; quote the request id when you report it."
        extensions = {"code": ApiCode.INTERNAL.value}
    shown: Response = {"message": message}
    if error.locations:
        shown["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path:
        shown["path"] = error.path
    shown["extensions"] = {**extensions, "requestId": request_id}
    return shown
