-- Who may post. Read by the gateway, written by `circles keys`. The owner alone connects here.

CREATE TABLE IF NOT EXISTS tenants (
    tenant_id text PRIMARY KEY,
    data_class text NOT NULL CHECK (data_class IN ('live', 'public', 'synthetic')),
    created_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE tenants IS 'A partner, or one of its environments. Data of two tenants are never joined.';
COMMENT ON COLUMN tenants.data_class IS 'Set by the operator. Classes never pool; only public and synthetic data may have a disclosure threshold of 1.';

CREATE TABLE IF NOT EXISTS api_keys (
    key_id text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenants,
    key_sha256 bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

COMMENT ON TABLE api_keys IS 'Keys of tenants. A key itself is shown once, when it is made, and stored nowhere.';
COMMENT ON COLUMN api_keys.key_id IS 'Public part of the key: names it in `circles keys list` and in logs.';
COMMENT ON COLUMN api_keys.key_sha256 IS 'SHA-256 of the whole key, which is random, so that no salt is needed.';
COMMENT ON COLUMN api_keys.revoked_at IS 'NULL while the key works.';
