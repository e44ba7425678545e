-- Of everybody who has not withdrawn, for operators: not limited to those who consented to research, never
-- published. What each figure means: docs/engagement.md.
{{ group_engagement_rolling(ref('stg_participation__events'), ref('int_withdrawals_resolved')) }}
