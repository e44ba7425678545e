"""The gateway: authenticates a partner, checks and pseudonymises events, and answers when Kafka has them.

Nothing is stored here, and nothing is computed from events: that is everything behind Kafka. The way of a
call, by module: `servicers` → `authentication`, `limits`, `room` → `intake` (→ `wire` and `kernels` for whole
batches, `compiled` and `rules` for single events, `instruments`, `pseudonyms`, `recent`) → `outbox` →
`envelopes` → `sender` → Kafka → `responses` or `errors`.
"""
