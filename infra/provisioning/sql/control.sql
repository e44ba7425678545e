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

ALTER TABLE tenants ADD COLUMN IF NOT EXISTS events_per_second double precision CHECK (events_per_second > 0);
ALTER TABLE tenants ADD COLUMN IF NOT EXISTS bytes_per_second double precision CHECK (bytes_per_second > 0);
ALTER TABLE tenants ADD COLUMN IF NOT EXISTS streams integer CHECK (streams > 0);
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS expires_at timestamptz;

COMMENT ON COLUMN tenants.events_per_second IS 'NULL: the setting of the gateway. So are bytes_per_second and streams.';
COMMENT ON COLUMN api_keys.expires_at IS 'Set when the key is rotated: until then the old one and the new one work.';

CREATE TABLE IF NOT EXISTS audit_log (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    event text NOT NULL,
    tenant_id text,
    key_id text,
    actor text NOT NULL,
    count bigint NOT NULL DEFAULT 1,
    detail text
);
CREATE INDEX IF NOT EXISTS audit_log_at ON audit_log (at);

COMMENT ON TABLE audit_log IS 'What happened to keys and limits, and who authenticated or failed to. Never a key, never a person of a group.';
COMMENT ON COLUMN audit_log.event IS 'key_created, key_revoked, key_rotated, limits_set, authenticated (first time of a key from an address in a gateway''s life), refused.';
COMMENT ON COLUMN audit_log.actor IS 'The operator''s user name on the machine, or the network address of a caller.';
COMMENT ON COLUMN audit_log.count IS 'How many like it since the last row: refusals are counted together, so that an attack cannot fill the disk.';
