-- +goose Up

-- With a friendship, in the one row of the pair. A row with a block has no friendship
-- and no request.
ALTER TABLE pairs
    ADD COLUMN low_blocks  timestamptz,
    ADD COLUMN high_blocks timestamptz;

COMMENT ON COLUMN pairs.low_blocks  IS 'since when low blocks high; null: not';
COMMENT ON COLUMN pairs.high_blocks IS 'since when high blocks low; null: not';

-- Every message is looked up here: there are few blocks, so it is small.
CREATE INDEX pairs_blocked ON pairs (low, high) WHERE low_blocks IS NOT NULL OR high_blocks IS NOT NULL;

COMMENT ON COLUMN events.kind IS
    '1 message, 2 friend request, 3 friend added, 4 friend removed, 5 request sent, 6 request closed, 7 blocked, 8 unblocked, 9 tombstone';
