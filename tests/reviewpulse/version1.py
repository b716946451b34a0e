"""A store as schema version 1 made it, before its offsets knew what was pruned."""

import sqlalchemy as sa

_STATEMENTS = """
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE sentiment_by_second (
    second BIGINT NOT NULL, stars SMALLINT NOT NULL, reviews INTEGER NOT NULL, confidence_sum FLOAT NOT NULL,
    PRIMARY KEY (second, stars)
);
CREATE TABLE sources (
    source_id {number} NOT NULL, cluster_id TEXT NOT NULL, topic TEXT NOT NULL, topic_id TEXT NOT NULL,
    PRIMARY KEY (source_id), UNIQUE (cluster_id, topic, topic_id)
);
CREATE TABLE offsets (
    source_id INTEGER NOT NULL, partition INTEGER NOT NULL, next_offset BIGINT NOT NULL,
    high_watermark BIGINT NOT NULL, updated_at_ms BIGINT NOT NULL,
    PRIMARY KEY (source_id, partition), FOREIGN KEY(source_id) REFERENCES sources (source_id)
);
CREATE TABLE predictions (
    source_id INTEGER NOT NULL, partition INTEGER NOT NULL, "offset" BIGINT NOT NULL, event_id TEXT NOT NULL,
    review_id TEXT NOT NULL, title TEXT, text TEXT NOT NULL, asin TEXT, category TEXT, rating FLOAT,
    stars SMALLINT NOT NULL, confidence FLOAT NOT NULL, p_very_negative FLOAT NOT NULL, p_negative FLOAT NOT NULL,
    p_neutral FLOAT NOT NULL, p_positive FLOAT NOT NULL, p_very_positive FLOAT NOT NULL, model_name TEXT NOT NULL,
    model_version TEXT NOT NULL, reviewed_at_ms BIGINT, scored_at_ms BIGINT NOT NULL,
    PRIMARY KEY (source_id, partition, "offset"), FOREIGN KEY(source_id) REFERENCES sources (source_id)
);
CREATE INDEX predictions_by_time ON predictions (scored_at_ms);
CREATE TABLE rejections (
    source_id INTEGER NOT NULL, partition INTEGER NOT NULL, "offset" BIGINT NOT NULL, reason TEXT NOT NULL,
    rejected_at_ms BIGINT NOT NULL,
    PRIMARY KEY (source_id, partition, "offset"), FOREIGN KEY(source_id) REFERENCES sources (source_id)
);
CREATE INDEX rejections_by_time ON rejections (rejected_at_ms);
INSERT INTO schema_version VALUES (1);
INSERT INTO sources (cluster_id, topic, topic_id) VALUES ('cluster', 'reviews', 'topic-id-1');
INSERT INTO offsets VALUES (1, 0, 7, 9, 1000);
INSERT INTO rejections VALUES (1, 0, 6, 'no text', 1000)
"""


def make_version1(url: str) -> None:
    """Make a store of version 1 with a source, one rejection and one partition's offset."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    number = "INTEGER" if engine.dialect.name == "sqlite" else "SERIAL"
    with engine.begin() as connection:
        for statement in _STATEMENTS.format(number=number).split(";"):
            connection.exec_driver_sql(statement)
