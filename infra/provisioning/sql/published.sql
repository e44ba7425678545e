-- What people read: `live` for operators, `evidence` for operators and analysts. Tables of `evidence`
-- are made by pipelines; whatever the owner makes there is readable at once.

CREATE SCHEMA IF NOT EXISTS live;
CREATE SCHEMA IF NOT EXISTS evidence;
COMMENT ON SCHEMA live IS 'Rolling figures, seconds old, of single groups. For operators: no disclosure control.';
COMMENT ON SCHEMA evidence IS 'Released evidence tables, after disclosure control. For analysts.';

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA evidence TO {operator}, {analyst};
GRANT USAGE ON SCHEMA live TO {operator};
GRANT SELECT ON ALL TABLES IN SCHEMA evidence TO {operator}, {analyst};
GRANT SELECT ON ALL TABLES IN SCHEMA live TO {operator};
ALTER DEFAULT PRIVILEGES IN SCHEMA evidence GRANT SELECT ON TABLES TO {operator}, {analyst};
ALTER DEFAULT PRIVILEGES IN SCHEMA live GRANT SELECT ON TABLES TO {operator};

CREATE TABLE IF NOT EXISTS live.group_engagement (
    tenant_id text NOT NULL,
    data_class text NOT NULL,
    group_id text NOT NULL,
    window_hours int NOT NULL,
    as_of timestamptz NOT NULL,
    count_by_kind jsonb NOT NULL,
    count_events bigint NOT NULL,
    count_active_participants bigint NOT NULL,
    count_replies bigint NOT NULL,
    count_attendances bigint NOT NULL,
    topic_id text NOT NULL,
    kafka_partition int NOT NULL,
    applied_offset bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, group_id, window_hours)
);

COMMENT ON TABLE live.group_engagement IS 'What happened in a group in the hours up to as_of; one row per group and window.';
COMMENT ON COLUMN live.group_engagement.tenant_id IS 'Partner whose group it is.';
COMMENT ON COLUMN live.group_engagement.data_class IS 'live, public or synthetic; classes never pool.';
COMMENT ON COLUMN live.group_engagement.group_id IS 'Pseudonym of the group, made at the gateway.';
COMMENT ON COLUMN live.group_engagement.window_hours IS 'Length of the window in hours of event time: 1 or 24.';
COMMENT ON COLUMN live.group_engagement.as_of IS 'End of the window (exclusive), in event time: after the newest event of the group, also when that one was taken back.';
COMMENT ON COLUMN live.group_engagement.count_by_kind IS 'Events in the window by kind, as JSON object; a kind without events is absent.';
COMMENT ON COLUMN live.group_engagement.count_events IS 'Events in the window, of all kinds. 0: nothing happened, or all was taken back.';
COMMENT ON COLUMN live.group_engagement.count_active_participants IS 'Distinct people who did something in the window.';
COMMENT ON COLUMN live.group_engagement.count_replies IS 'Replies in the window.';
COMMENT ON COLUMN live.group_engagement.count_attendances IS 'Attendances of sessions in the window.';
COMMENT ON COLUMN live.group_engagement.topic_id IS 'Kafka id of the topic that was counted: a topic made anew under the same name has another.';
COMMENT ON COLUMN live.group_engagement.kafka_partition IS 'Partition that the group is on.';
COMMENT ON COLUMN live.group_engagement.applied_offset IS 'Offset of the last record that the figure includes: a recompute up to it gives the same figure.';
COMMENT ON COLUMN live.group_engagement.updated_at IS 'When the row was written, by the clock of the database.';

CREATE TABLE IF NOT EXISTS live.reconciliation (
    run_id text NOT NULL,
    read_at timestamptz NOT NULL,
    tenant_id text NOT NULL,
    data_class text NOT NULL,
    count_groups_compared bigint NOT NULL,
    count_groups_not_landed bigint NOT NULL,
    count_groups_not_staged bigint NOT NULL,
    count_figures_compared bigint NOT NULL,
    count_explained bigint NOT NULL,
    explained jsonb NOT NULL,
    count_unexplained bigint NOT NULL,
    PRIMARY KEY (run_id, tenant_id)
);

COMMENT ON TABLE live.reconciliation IS 'Live figures against their recomputation from the lake; one row per run and tenant.';
COMMENT ON COLUMN live.reconciliation.run_id IS 'Run of the job reconcile_live in Dagster.';
COMMENT ON COLUMN live.reconciliation.read_at IS 'When the live figures were read.';
COMMENT ON COLUMN live.reconciliation.tenant_id IS 'Partner whose groups were compared.';
COMMENT ON COLUMN live.reconciliation.data_class IS 'live, public or synthetic; classes never pool.';
COMMENT ON COLUMN live.reconciliation.count_groups_compared IS 'Groups of which the lake had all that their live figures stand for.';
COMMENT ON COLUMN live.reconciliation.count_groups_not_landed IS 'Groups that were not compared because the lake had not landed as far.';
COMMENT ON COLUMN live.reconciliation.count_groups_not_staged IS 'Groups that were not compared because some of their rows await admission, are blocked by it, or are not built.';
COMMENT ON COLUMN live.reconciliation.count_figures_compared IS 'Figures of these groups, in all windows; as_of is one of them.';
COMMENT ON COLUMN live.reconciliation.count_explained IS 'Figures that differ for a reason that the definitions allow.';
COMMENT ON COLUMN live.reconciliation.explained IS 'The same by reason, as JSON object.';
COMMENT ON COLUMN live.reconciliation.count_unexplained IS 'Figures that differ for no known reason: 0, or stream or warehouse is wrong.';
