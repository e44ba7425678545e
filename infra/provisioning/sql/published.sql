-- What people read: `live` for operators, `evidence` for operators and analysts. Tables of `evidence`
-- are made by pipelines; whatever the owner makes there is readable at once.

CREATE SCHEMA IF NOT EXISTS live;
CREATE SCHEMA IF NOT EXISTS evidence;
COMMENT ON SCHEMA live IS 'Rolling figures, seconds old, of single groups, and safeguarding cases. For operators: no disclosure control.';
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

CREATE TABLE IF NOT EXISTS live.safeguarding (
    tenant_id text NOT NULL,
    case_ref text NOT NULL,
    data_class text NOT NULL,
    group_id text NOT NULL,
    risk_kind text NOT NULL,
    state text NOT NULL,
    raised_at timestamptz NOT NULL,
    opened_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    breached_at timestamptz,
    answer text,
    answered_at timestamptz,
    closed_at timestamptz,
    alert_level text,
    alerted_at timestamptz,
    delivered_at timestamptz,
    count_undelivered int NOT NULL,
    escalated_at timestamptz,
    escalation_contact text,
    erasable_after timestamptz,
    kafka_partition int NOT NULL,
    topic_id text NOT NULL,
    revision bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, case_ref)
);
CREATE INDEX IF NOT EXISTS safeguarding_open ON live.safeguarding (due_at) WHERE state = 'open';

COMMENT ON TABLE live.safeguarding IS 'Safeguarding cases, one row each. Confidential, for operators; no participant. Circles is no crisis service.';
COMMENT ON COLUMN live.safeguarding.tenant_id IS 'Partner whose case it is.';
COMMENT ON COLUMN live.safeguarding.case_ref IS 'The case as the partner made it: only the partner can tell who it is.';
COMMENT ON COLUMN live.safeguarding.data_class IS 'live, public or synthetic; classes never pool.';
COMMENT ON COLUMN live.safeguarding.group_id IS 'Pseudonym of the group in which it was raised.';
COMMENT ON COLUMN live.safeguarding.risk_kind IS 'Kind of the risk whose clock runs out first, or unspecified.';
COMMENT ON COLUMN live.safeguarding.state IS 'open, closed (answered), or retracted: everything that opened it was taken back.';
COMMENT ON COLUMN live.safeguarding.raised_at IS 'When it occurred, as the partner says.';
COMMENT ON COLUMN live.safeguarding.opened_at IS 'When the gateway received it; of a case that was opened again the last time. The clock counts from here.';
COMMENT ON COLUMN live.safeguarding.due_at IS 'When the clock runs out: without an answer by then the case is breached.';
COMMENT ON COLUMN live.safeguarding.breached_at IS 'When the clock ran out without an answer. NULL: it did not, so far.';
COMMENT ON COLUMN live.safeguarding.answer IS 'What was done, as the partner says. NULL: nothing yet.';
COMMENT ON COLUMN live.safeguarding.answered_at IS 'When that was done, as the partner says.';
COMMENT ON COLUMN live.safeguarding.closed_at IS 'When the gateway received the answer, or what took everything back. NULL: open.';
COMMENT ON COLUMN live.safeguarding.alert_level IS 'Level of the newest alert that holds: opened, breached, escalated or closed.';
COMMENT ON COLUMN live.safeguarding.alerted_at IS 'When that alert was issued.';
COMMENT ON COLUMN live.safeguarding.delivered_at IS 'When everybody who is to get that alert by webhook had it. NULL: not yet, or nobody is to get it.';
COMMENT ON COLUMN live.safeguarding.count_undelivered IS 'Deliveries by webhook that have not succeeded so far, of all alerts that hold.';
COMMENT ON COLUMN live.safeguarding.escalated_at IS 'When it was found that nobody could be told, while the case is open and that is so.';
COMMENT ON COLUMN live.safeguarding.escalation_contact IS 'Whom the operator has named for that. NULL: not escalated, or nobody is named.';
COMMENT ON COLUMN live.safeguarding.erasable_after IS 'End of the legal period of a closed case: nothing of it is erased before. NULL while it is open.';
COMMENT ON COLUMN live.safeguarding.kafka_partition IS 'Partition of the event that raised it first: whoever has it looks after the case.';
COMMENT ON COLUMN live.safeguarding.topic_id IS 'Kafka id of topic safeguarding-cases: revisions of another topic do not compare.';
COMMENT ON COLUMN live.safeguarding.revision IS 'How many facts about the case the row knows; a row with fewer never takes its place.';
COMMENT ON COLUMN live.safeguarding.updated_at IS 'When the row was written, by the clock of the database.';
