with source as (
    {{ new_events('study_events', 'stg_studies__identities') }}
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
        study_code,
        kind,
        study_registered__design as design,
        study_registered__result as result,
        study_registered__risk_of_bias as risk_of_bias,
        nullif(study_registered__publication_year, 0) as publication_year,
        study_registered__doi as doi,
        study_registered__covariates as covariates,
        study_registered__attributes as attributes,
        coalesce(arm_summarised__arm, effect_estimated__arm) as arm,
        effect_estimated__comparison_arm as comparison_arm,
        coalesce(arm_summarised__outcome, effect_estimated__outcome) as outcome,
        coalesce(arm_summarised__instrument, effect_estimated__instrument) as instrument,
        coalesce(arm_summarised__time_point, effect_estimated__time_point) as time_point,
        arm_summarised__n as count_people,
        arm_summarised__mean as mean,
        arm_summarised__sd as sd,
        arm_summarised__events as count_people_with_event,
        effect_estimated__scale as effect_scale,
        effect_estimated__estimate as estimate,
        effect_estimated__standard_error as standard_error,
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
