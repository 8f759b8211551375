-- +goose Up
CREATE TABLE sessions (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    integer     NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash bytea       NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX sessions_user_id_idx    ON sessions (user_id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

COMMENT ON COLUMN sessions.id         IS 'names the session, no secret';
COMMENT ON COLUMN sessions.token_hash IS 'SHA-256 of the token, which nobody but its user has';
COMMENT ON COLUMN sessions.expires_at IS 'from then on it is over, whether or not the row is gone';
