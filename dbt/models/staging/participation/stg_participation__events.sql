with source as (
    {{ new_events('participation_events', 'stg_participation__identities') }}
),

renamed as (
    select
        tenant_id,
        data_class,
        event_id,
        body_hash,
        occurred_at,
        received_at,
        coalesce(is_late, false) as is_late,
        group_ref as group_id,
        participant_ref as participant_id,
        kind,
        member_left__reason as leave_reason,
        coalesce(
            session_held__session_ref, session_cancelled__session_ref, session_attended__session_ref
        ) as session_id,
        nullif(session_held__minutes, 0) as session_minutes,
        session_attended__role as attendance_role,
        nullif(session_attended__minutes, 0) as attended_minutes,
        coalesce(
            thread_started__thread_ref, reply_posted__thread_ref, thread_read__thread_ref
        ) as thread_id,
        coalesce(
            thread_started__act_ref,
            reply_posted__act_ref,
            reaction_given__act_ref,
            moderation_acted__act_ref,
            text_features_measured__act_ref
        ) as act_id,
        reply_posted__in_reply_to_act_ref as in_reply_to_act_id,
        reaction_given__reaction as reaction,
        moderation_acted__action as moderation_action,
        coalesce(risk_raised__case_ref, risk_answered__case_ref) as case_id,
        risk_raised__risk_kind as risk_kind,
        risk_answered__answer as risk_answer,
        text_features_measured__dictionary as text_features_dictionary,
        text_features_measured__features as text_features,
        event_retracted__retracted_event_id as retracted_event_id,
        topic_id,
        kafka_partition,
        kafka_offset,
        event_index,
        landed_seq,
        landed_at,
        slice_id
    from source
)

select * from renamed
