{% set touched = {'model': 'int_groups_touched', 'columns': ['tenant_id', 'group_id']} %}
{{ config(
    unique_key=['tenant_id', 'study_code', 'group_id', 'window_year', 'feature'],
    meta={'touched': touched},
) }}

-- depends_on: {{ ref('int_groups_touched') }}
-- Low et al. 2020: observed days two by two, the mean over posts in each, z-scores of these means, their least-squares
-- line over the number of the bin; slope × r².
{% set posts %}
(
    select * from {{ ref('int_posts_measured') }} where has_research_consent and is_large_enough and is_one_of_window
)
{% endset %}

with undivided as (
    {{ text_study_values('undivided', 'feature', 'varchar') }}
),

communities as (
    select
        community_number,
        tenant_id,
        study_code,
        group_id,
        window_year,
        min(data_class) as data_class
    from {{ posts }} as posts
    group by community_number, tenant_id, study_code, group_id, window_year
),

observed as (
    select distinct community_number, posted_on
    from {{ posts }} as posts
),

bins as (
    select
        *,
        cast(floor((row_number() over (partition by community_number order by posted_on) - 1) / 2.0) as bigint) as bin
    from observed
),

-- Counts are divided by the words of their post; of a post without words they tell nothing.
measured as (
    select
        posts.community_number,
        bins.bin,
        pairs.code as feature,
        count(*) as count_posts,
        count(case when posts.n_words > 0 then pairs.value end) as count_with_words,
        avg(pairs.value) as mean,
        avg(case when posts.n_words > 0 then pairs.value / posts.n_words end) as mean_per_word
    from {{ posts }} as posts
    inner join bins on posts.community_number = bins.community_number and posts.posted_on = bins.posted_on
    {{ with_pairs_of('posts.features', 'pairs') }}
    group by posts.community_number, bins.bin, pairs.code
),

binned as (
    select
        measured.community_number,
        measured.bin,
        measured.feature,
        measured.count_posts,
        case when undivided.feature is null then measured.count_with_words else measured.count_posts end as count_values,
        case when undivided.feature is null then measured.mean_per_word else measured.mean end as mean
    from measured
    inner join communities on measured.community_number = communities.community_number
    left join undivided
        on communities.study_code = undivided.study_code and measured.feature = undivided.feature
    union all
    -- How many posts a bin has is a feature as well.
    select
        posts.community_number,
        bins.bin,
        'n_posts' as feature,
        count(*) as count_posts,
        count(*) as count_values,
        cast(count(*) as double) as mean
    from {{ posts }} as posts
    inner join bins on posts.community_number = bins.community_number and posts.posted_on = bins.posted_on
    group by posts.community_number, bins.bin
),

described as (
    select
        community_number,
        feature,
        cast(sum(count_posts) as bigint) as count_authors,
        cast(sum(count_values) as bigint) as count_authors_with_value,
        cast(count(mean) as bigint) as count_bins,
        -- Two bins have a line whatever they are, and a constant has none.
        count(mean) >= 3 and stddev_pop(mean) > 1e-12 * max(abs(mean)) as has_trend,
        stddev_pop(mean) as sd,
        regr_slope(mean, bin) as slope,
        {{ r_squared('mean', 'bin') }} as r_squared
    from binned
    group by community_number, feature
)

select
    communities.tenant_id,
    communities.study_code,
    communities.group_id,
    communities.window_year,
    described.feature,
    communities.data_class,
    described.count_authors,
    described.count_authors_with_value,
    described.count_bins,
    -- The slope of z-scores is the slope over their standard deviation.
    case when described.has_trend then described.slope / described.sd end as slope,
    case when described.has_trend then described.r_squared end as r_squared,
    case when described.has_trend then described.slope / described.sd * described.r_squared end as slope_times_r_squared
from described
inner join communities on described.community_number = communities.community_number
