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

-- Live figures are made again from what Kafka has: a table of an earlier shape goes.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM information_schema.columns
        WHERE (table_schema, table_name, column_name) = ('live', 'group_engagement', 'count_by_kind')
    ) THEN
        DROP TABLE live.group_engagement;
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS live.group_engagement (
    tenant_id text NOT NULL,
    data_class text NOT NULL,
    group_id text NOT NULL,
    window_hours int NOT NULL,
    as_of timestamptz NOT NULL,
    count_events bigint NOT NULL,
    count_posts bigint NOT NULL,
    count_replies bigint NOT NULL,
    count_reads bigint NOT NULL,
    count_reactions bigint NOT NULL,
    count_active_participants bigint NOT NULL,
    count_newcomers bigint NOT NULL,
    count_returning bigint NOT NULL,
    count_dropouts bigint NOT NULL,
    count_sessions bigint NOT NULL,
    count_places bigint NOT NULL,
    count_attendances bigint NOT NULL,
    count_threads bigint NOT NULL,
    count_threads_answered bigint NOT NULL,
    count_threads_followed_1h bigint NOT NULL,
    count_threads_answered_1h bigint NOT NULL,
    count_threads_followed_24h bigint NOT NULL,
    count_threads_answered_24h bigint NOT NULL,
    count_threads_moderated bigint NOT NULL,
    count_dyads bigint NOT NULL,
    count_dyads_reciprocal bigint NOT NULL,
    count_contributors bigint NOT NULL,
    count_posts_of_top bigint NOT NULL,
    first_reply_median_seconds bigint,
    moderator_reply_median_seconds bigint,
    contribution_gini double precision,
    stickiness double precision,
    attendance_rate double precision
        GENERATED ALWAYS AS (count_attendances::float8 / nullif(count_places, 0)) STORED,
    count_threads_unanswered bigint GENERATED ALWAYS AS (count_threads - count_threads_answered) STORED,
    reply_rate_1h double precision
        GENERATED ALWAYS AS (count_threads_answered_1h::float8 / nullif(count_threads_followed_1h, 0)) STORED,
    reply_rate_24h double precision
        GENERATED ALWAYS AS (count_threads_answered_24h::float8 / nullif(count_threads_followed_24h, 0)) STORED,
    reciprocity double precision
        GENERATED ALWAYS AS (count_dyads_reciprocal::float8 / nullif(count_dyads, 0)) STORED,
    top_1_percent_share double precision
        GENERATED ALWAYS AS (count_posts_of_top::float8 / nullif(count_posts, 0)) STORED,
    topic_id text NOT NULL,
    kafka_partition int NOT NULL,
    applied_offset bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, group_id, window_hours)
);

COMMENT ON TABLE live.group_engagement IS 'Engagement of a group in the hours up to as_of, as docs/engagement.md defines it; one row per group and window.';
COMMENT ON COLUMN live.group_engagement.tenant_id IS 'Partner whose group it is.';
COMMENT ON COLUMN live.group_engagement.data_class IS 'live, public or synthetic; classes never pool.';
COMMENT ON COLUMN live.group_engagement.group_id IS 'Pseudonym of the group, made at the gateway.';
COMMENT ON COLUMN live.group_engagement.window_hours IS 'Length of the window in hours of event time: 1, 24, 168 or 672.';
COMMENT ON COLUMN live.group_engagement.as_of IS 'End of the window (exclusive), in event time: the end of the five minutes that hold the newest event of the group, also when that one was taken back.';
COMMENT ON COLUMN live.group_engagement.count_events IS 'Events in the window. 0: nothing happened, or all was taken back.';
COMMENT ON COLUMN live.group_engagement.count_posts IS 'Threads started and replies.';
COMMENT ON COLUMN live.group_engagement.count_replies IS 'Replies.';
COMMENT ON COLUMN live.group_engagement.count_reads IS 'Reads of threads. 0: nobody read, or the service does not post reads.';
COMMENT ON COLUMN live.group_engagement.count_reactions IS 'Reactions.';
COMMENT ON COLUMN live.group_engagement.count_active_participants IS 'Distinct people with an activity.';
COMMENT ON COLUMN live.group_engagement.count_newcomers IS 'People whose first activity in the group is in the window.';
COMMENT ON COLUMN live.group_engagement.count_returning IS 'Active participants who are not newcomers.';
COMMENT ON COLUMN live.group_engagement.count_dropouts IS 'People whose last activity plus 30 days is in the window, and who had not left by then.';
COMMENT ON COLUMN live.group_engagement.count_sessions IS 'Sessions held.';
COMMENT ON COLUMN live.group_engagement.count_places IS 'Over these sessions, the members at the time: people × sessions.';
COMMENT ON COLUMN live.group_engagement.count_attendances IS 'Of these places, the ones whose member attended.';
COMMENT ON COLUMN live.group_engagement.count_threads IS 'Threads opened.';
COMMENT ON COLUMN live.group_engagement.count_threads_answered IS 'Of these, the ones with a reply by somebody else.';
COMMENT ON COLUMN live.group_engagement.count_threads_followed_1h IS 'Threads opened at least one hour before as_of.';
COMMENT ON COLUMN live.group_engagement.count_threads_answered_1h IS 'Of the threads followed for one hour, those answered within it.';
COMMENT ON COLUMN live.group_engagement.count_threads_followed_24h IS 'Threads opened at least 24 hours before as_of.';
COMMENT ON COLUMN live.group_engagement.count_threads_answered_24h IS 'Of the threads followed for 24 hours, those answered within them.';
COMMENT ON COLUMN live.group_engagement.count_threads_moderated IS 'Threads whose opening a moderator answered.';
COMMENT ON COLUMN live.group_engagement.count_dyads IS 'Pairs of people of whom one replied to the other.';
COMMENT ON COLUMN live.group_engagement.count_dyads_reciprocal IS 'Of these, the pairs in which each replied to the other.';
COMMENT ON COLUMN live.group_engagement.count_contributors IS 'People with a post.';
COMMENT ON COLUMN live.group_engagement.count_posts_of_top IS 'Posts of the one per cent (at least one) of contributors who wrote most.';
COMMENT ON COLUMN live.group_engagement.first_reply_median_seconds IS 'Kaplan–Meier median time to the first reply by somebody else; unanswered threads are censored at as_of. NULL: not reached, or no threads.';
COMMENT ON COLUMN live.group_engagement.moderator_reply_median_seconds IS 'The same median, to the first answer of a moderator.';
COMMENT ON COLUMN live.group_engagement.contribution_gini IS 'Gini coefficient of posts over contributors. 0: all wrote as much. NULL: nobody wrote.';
COMMENT ON COLUMN live.group_engagement.stickiness IS 'Active participants of 24 hours over those of 28 days; the same in each row of a group. NULL: nobody was active.';
COMMENT ON COLUMN live.group_engagement.attendance_rate IS 'count_attendances over count_places. NULL: no places.';
COMMENT ON COLUMN live.group_engagement.count_threads_unanswered IS 'Threads opened in the window that are unanswered now.';
COMMENT ON COLUMN live.group_engagement.reply_rate_1h IS 'Answered within one hour, of the threads followed for one hour. NULL: none followed.';
COMMENT ON COLUMN live.group_engagement.reply_rate_24h IS 'Answered within 24 hours, of the threads followed for 24 hours. NULL: none followed.';
COMMENT ON COLUMN live.group_engagement.reciprocity IS 'Reciprocal dyads over all. NULL: no dyads.';
COMMENT ON COLUMN live.group_engagement.top_1_percent_share IS 'count_posts_of_top over count_posts. NULL: nobody wrote.';
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

CREATE TABLE IF NOT EXISTS live.tenant_engagement (
    tenant_id text NOT NULL,
    data_class text NOT NULL,
    window_hours int NOT NULL,
    as_of timestamptz NOT NULL,
    count_events bigint NOT NULL,
    count_posts bigint NOT NULL,
    count_replies bigint NOT NULL,
    count_reads bigint NOT NULL,
    count_reactions bigint NOT NULL,
    count_attended bigint NOT NULL,
    count_active_groups bigint NOT NULL,
    count_active_participants bigint NOT NULL,
    participants_relative_error double precision NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, window_hours)
);

COMMENT ON TABLE live.tenant_engagement IS 'What happened in all groups of a tenant in the hours up to as_of, as docs/engagement.md defines it; one row per tenant and window.';
COMMENT ON COLUMN live.tenant_engagement.tenant_id IS 'Partner whose groups they are.';
COMMENT ON COLUMN live.tenant_engagement.data_class IS 'live, public or synthetic; classes never pool.';
COMMENT ON COLUMN live.tenant_engagement.window_hours IS 'Length of the window in hours of event time: 1, 24, 168 or 672.';
COMMENT ON COLUMN live.tenant_engagement.as_of IS 'End of the window (exclusive): of the hour that holds the newest event, also when that one was taken back.';
COMMENT ON COLUMN live.tenant_engagement.count_events IS 'Events in the window, of all groups.';
COMMENT ON COLUMN live.tenant_engagement.count_posts IS 'Threads started and replies.';
COMMENT ON COLUMN live.tenant_engagement.count_replies IS 'Replies.';
COMMENT ON COLUMN live.tenant_engagement.count_reads IS 'Reads of threads.';
COMMENT ON COLUMN live.tenant_engagement.count_reactions IS 'Reactions.';
COMMENT ON COLUMN live.tenant_engagement.count_attended IS 'Attendances told, of people in the role of member.';
COMMENT ON COLUMN live.tenant_engagement.count_active_groups IS 'Groups in which somebody was active.';
COMMENT ON COLUMN live.tenant_engagement.count_active_participants IS 'Distinct people who were active in any group: counted, or estimated from an even sample where there are more than 1,024 on a partition.';
COMMENT ON COLUMN live.tenant_engagement.participants_relative_error IS 'Relative standard error of count_active_participants. 0: counted.';
COMMENT ON COLUMN live.tenant_engagement.updated_at IS 'When the row was written, by the clock of the database.';

CREATE SCHEMA IF NOT EXISTS quality;
COMMENT ON SCHEMA quality IS 'What every check of the pipelines has found. Rows by tenant are for operators, counts for analysts.';
GRANT USAGE ON SCHEMA quality TO {operator}, {analyst};

CREATE TABLE IF NOT EXISTS quality.expectation_results (
    run_id text NOT NULL,
    checked_at timestamptz NOT NULL,
    stage text NOT NULL,
    suite text NOT NULL,
    expectation text NOT NULL,
    tenant_id text,
    slice_id bigint,
    first_landed_seq bigint,
    last_landed_seq bigint,
    release_id bigint,
    severity text NOT NULL CHECK (severity IN ('block', 'warn')),
    success boolean NOT NULL,
    count_rows bigint NOT NULL,
    count_unexpected bigint NOT NULL,
    observed_value text,
    problem text
);
CREATE INDEX IF NOT EXISTS expectation_results_checked_at ON quality.expectation_results (checked_at);

COMMENT ON TABLE quality.expectation_results IS 'One row per run, checked table or tenant''s slice, and expectation. What passed is kept for 7 days, what did not for 90. No identifier, no text of a partner.';
COMMENT ON COLUMN quality.expectation_results.run_id IS 'Run in Dagster.';
COMMENT ON COLUMN quality.expectation_results.checked_at IS 'When the result was recorded.';
COMMENT ON COLUMN quality.expectation_results.stage IS 'admission (raw rows before staging), marts (before evidence is made of them), evidence (candidates before release) or health (of the stack and of what partners send).';
COMMENT ON COLUMN quality.expectation_results.suite IS 'What was checked: a raw table, a mart, an evidence table, or a topic.';
COMMENT ON COLUMN quality.expectation_results.expectation IS 'The rule, by the name that Dagster shows. check_can_be_run: the check itself broke.';
COMMENT ON COLUMN quality.expectation_results.tenant_id IS 'Partner whose rows were checked; empty: records of unknown origin. NULL: rows of all.';
COMMENT ON COLUMN quality.expectation_results.slice_id IS 'Number of the verdict in admission.slices. NULL: no slice, or no verdict because the check broke.';
COMMENT ON COLUMN quality.expectation_results.first_landed_seq IS 'Of a slice: its first landing.';
COMMENT ON COLUMN quality.expectation_results.last_landed_seq IS 'Of a slice: its last landing.';
COMMENT ON COLUMN quality.expectation_results.release_id IS 'Of evidence: number of the candidate.';
COMMENT ON COLUMN quality.expectation_results.severity IS 'block: a failure keeps the slice, the tenant or the candidate back, or the check broke. warn: nothing is kept back.';
COMMENT ON COLUMN quality.expectation_results.success IS 'Whether it holds. A check that broke has not succeeded.';
COMMENT ON COLUMN quality.expectation_results.count_rows IS 'Rows that were checked; of a share, its denominator.';
COMMENT ON COLUMN quality.expectation_results.count_unexpected IS 'Of these, the ones that break the rule.';
COMMENT ON COLUMN quality.expectation_results.observed_value IS 'Figures, or up to five codes or numbers that break the rule, where they identify nobody.';
COMMENT ON COLUMN quality.expectation_results.problem IS 'Why the rule could not be run, or which columns are missing. Where success is true: why it was not judged, as for want of history.';

CREATE TABLE IF NOT EXISTS quality.suite_runs (
    run_id text NOT NULL,
    checked_at timestamptz NOT NULL,
    stage text NOT NULL,
    suite text NOT NULL,
    lake_snapshot bigint,
    count_checked bigint NOT NULL,
    count_rows bigint NOT NULL,
    seconds double precision NOT NULL,
    seconds_in_expectations double precision NOT NULL
);
CREATE INDEX IF NOT EXISTS suite_runs_checked_at ON quality.suite_runs (checked_at);

COMMENT ON TABLE quality.suite_runs IS 'One row per run and suite: how much was checked, and how long it took. Kept for 90 days.';
COMMENT ON COLUMN quality.suite_runs.run_id IS 'Run in Dagster.';
COMMENT ON COLUMN quality.suite_runs.checked_at IS 'When it was recorded.';
COMMENT ON COLUMN quality.suite_runs.stage IS 'admission, marts or evidence.';
COMMENT ON COLUMN quality.suite_runs.suite IS 'What was checked: a raw table, a mart, or an evidence table.';
COMMENT ON COLUMN quality.suite_runs.lake_snapshot IS 'Snapshot of the lake that a mart or an evidence table was checked at. NULL: raw rows.';
COMMENT ON COLUMN quality.suite_runs.count_checked IS 'Of a raw table its slices, of a mart its tenants, of an evidence table 1.';
COMMENT ON COLUMN quality.suite_runs.count_rows IS 'Rows that were checked.';
COMMENT ON COLUMN quality.suite_runs.seconds IS 'Time from reading the first row to the last result; the import of Great Expectations, once per process, is left out.';
COMMENT ON COLUMN quality.suite_runs.seconds_in_expectations IS 'Of these, the time in Great Expectations.';

CREATE TABLE IF NOT EXISTS quality.mart_days (
    mart text NOT NULL,
    tenant_id text NOT NULL,
    counted_on date NOT NULL,
    count_rows bigint NOT NULL,
    figures jsonb NOT NULL,
    PRIMARY KEY (mart, tenant_id, counted_on)
);

COMMENT ON TABLE quality.mart_days IS 'Volume and figures of the marts by tenant, of the last build of each of the last 28 days: what volume_is_usual and figures_are_usual compare with.';
COMMENT ON COLUMN quality.mart_days.mart IS 'Mart.';
COMMENT ON COLUMN quality.mart_days.tenant_id IS 'Partner whose rows they are.';
COMMENT ON COLUMN quality.mart_days.counted_on IS 'Day of the build (UTC).';
COMMENT ON COLUMN quality.mart_days.count_rows IS 'Rows.';
COMMENT ON COLUMN quality.mart_days.figures IS 'Means and shares by name, as JSON object. Not disclosure-controlled.';

-- Without tenants and numbers of rows: a slice of a small group is a small cell.
CREATE OR REPLACE VIEW quality.expectation_summary AS
SELECT run_id, stage, suite, expectation, severity, max(checked_at) AS checked_at,
       count(*) AS count_checked, count(*) FILTER (WHERE NOT success) AS count_failed
FROM quality.expectation_results
GROUP BY run_id, stage, suite, expectation, severity;

COMMENT ON VIEW quality.expectation_summary IS 'Results by run, table and expectation, for analysts: how many slices or tables were checked, and how many failed.';
COMMENT ON COLUMN quality.expectation_summary.run_id IS 'Run in Dagster.';
COMMENT ON COLUMN quality.expectation_summary.stage IS 'admission, marts, evidence or health.';
COMMENT ON COLUMN quality.expectation_summary.suite IS 'What was checked: a raw table, a mart, an evidence table, or a topic.';
COMMENT ON COLUMN quality.expectation_summary.expectation IS 'The rule.';
COMMENT ON COLUMN quality.expectation_summary.severity IS 'block: what failed was kept back. warn: it was not.';
COMMENT ON COLUMN quality.expectation_summary.checked_at IS 'When the last of the results was recorded.';
COMMENT ON COLUMN quality.expectation_summary.count_checked IS 'Slices or tables that were held against the rule.';
COMMENT ON COLUMN quality.expectation_summary.count_failed IS 'Of these, the ones that it does not hold for. Of results that are older than 7 days only failures are kept.';
GRANT SELECT ON quality.expectation_results, quality.expectation_summary, quality.suite_runs, quality.mart_days TO {operator};
GRANT SELECT ON quality.expectation_summary TO {analyst};
