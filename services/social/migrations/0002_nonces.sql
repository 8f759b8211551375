-- +goose Up

-- What the first send with a nonce got. Most rows are written twice, by one
-- transaction: room for that keeps the second version beside the first, out of the
-- index. Nothing else is indexed, as every index costs each message.
CREATE TABLE nonces (
    sender    integer     NOT NULL,
    recipient integer     NOT NULL DEFAULT 0,
    seq       bigint      NOT NULL DEFAULT 0,
    sent_at   timestamptz NOT NULL DEFAULT now(),
    connected boolean     NOT NULL DEFAULT false,
    nonce     text        COLLATE "C" NOT NULL,
    PRIMARY KEY (sender, nonce)
) WITH (fillfactor = 50);

COMMENT ON COLUMN nonces.recipient IS 'to whom the first send with this nonce went';
COMMENT ON COLUMN nonces.seq       IS 'in the inbox of the recipient; 0 only within the transaction that stores it';
COMMENT ON COLUMN nonces.connected IS 'what the sender was told of the recipient';

-- Neighbours of the version before neither read nor write these: hence firsts_of,
-- by which a result of theirs is told from the one that firsts is about.
ALTER TABLE lanes
    ADD COLUMN firsts    jsonb,
    ADD COLUMN firsts_of bigint;

COMMENT ON COLUMN lanes.firsts    IS 'of messages whose nonce was stored before, what the first send got, by place from 1';
COMMENT ON COLUMN lanes.firsts_of IS 'number of the batch that firsts is about';
