with source as (
    {{ new_events('outcome_events', 'stg_outcomes__identities') }}
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
        participant_ref as participant_id,
        group_ref as group_id,
        kind,
        questionnaire_answered__instrument as instrument,
        questionnaire_answered__instrument_version as instrument_version,
        questionnaire_answered__items as items,
        questionnaire_answered__total as total,
        coalesce(
            questionnaire_answered__study_code,
            covariate_stated__study_code,
            arm_allocated__study_code,
            theme_coded__study_code,
            cost_recorded__study_code
        ) as study_code,
        questionnaire_answered__time_point as time_point,
        attribute_stated__age_band as age_band,
        attribute_stated__gender as gender,
        attribute_stated__employment as employment,
        attribute_stated__education as education,
        attribute_stated__marital_status as marital_status,
        attribute_stated__diagnosis as diagnosis,
        covariate_stated__covariate as covariate,
        covariate_stated__value as covariate_value,
        arm_allocated__arm as arm,
        coalesce(consent_given__scope, consent_withdrawn__scope) as consent_scope,
        survey_answered__survey_code as survey_code,
        survey_answered__weight as survey_weight,
        survey_answered__stratum as survey_stratum,
        survey_answered__cluster as survey_cluster,
        survey_answered__answers as survey_answers,
        theme_coded__theme as theme,
        theme_coded__coder_ref as coder_id,
        theme_coded__is_present as is_theme_present,
        cost_recorded__category as cost_category,
        cost_recorded__currency as cost_currency,
        cost_recorded__amount as cost_amount,
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
