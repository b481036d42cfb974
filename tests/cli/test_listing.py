"""What ``moot projections list`` says of views that are kept elsewhere."""

from infra.migrate import migrate
from infra.postgres import connect
from infra.rows import create_missing
from projections.catalogue import ALL
from streams.cli.projections import standing, table_rows


def test_rows_in_cassandra_are_not_told_as_none(database: str) -> None:
    migrate(database)
    with connect(database) as connection:
        connection.execute("INSERT INTO views.logs (projection, live) VALUES ('messages', 'messages_v1_ab')")
        create_missing(connection, [ALL["messages"], ALL["scores"]])
        rows = {row["projection"]: row for row in standing(connection, head=0)}
    assert (rows["messages"]["rows"], rows["messages"]["kept_in"]) == (None, "Cassandra")
    assert (rows["scores"]["rows"], rows["scores"]["kept_in"]) == (0, "PostgreSQL")
    cells = dict(table_rows(rows.values(), ("projection", "rows")))
    assert (cells["messages"], cells["scores"]) == ("- (Cassandra)", 0)
