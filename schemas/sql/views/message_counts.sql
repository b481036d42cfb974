-- How many messages each channel has, by month, day and minute.
CREATE TABLE {table} (
    channel_id uuid NOT NULL,
    level bigint NOT NULL,              -- 0: months, 1: days, 2: minutes
    number bigint NOT NULL,             -- which month (12 times the year, and 0 to 11), day or minute since 1970
    sent bigint NOT NULL,               -- deleted ones included
    live bigint NOT NULL,
    PRIMARY KEY (channel_id, level, number)
);
