-- +goose Up
CREATE TABLE users (
    id           integer     CONSTRAINT users_id_key PRIMARY KEY
                             CONSTRAINT users_id_has_8_digits CHECK (id BETWEEN 10000000 AND 99999999),
    username     text        NOT NULL,
    username_key text        NOT NULL CONSTRAINT users_username_key_key UNIQUE,
    pin_hash     text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN users.username     IS 'as others see it: RFC 8265, case preserved';
COMMENT ON COLUMN users.username_key IS 'what makes a name unique: RFC 8265, case mapped';
COMMENT ON COLUMN users.pin_hash     IS 'argon2id of the peppered pin, as a PHC string';
