-- +goose Up

-- The pass through all inboxes that deletes old events. Each of its steps locks the
-- row, so that there is one at a time however many pods there are, and any of them
-- takes the next one. Who deletes or changes events otherwise shares the lock.
CREATE TABLE pruning (
    only_row   boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    after_user integer     NOT NULL DEFAULT 0,
    began_at   timestamptz NOT NULL DEFAULT now(),
    free_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
INSERT INTO pruning DEFAULT VALUES;

COMMENT ON COLUMN pruning.after_user IS 'the pass has come to the inbox after that of this user; 0: to the next pass';
COMMENT ON COLUMN pruning.began_at   IS 'when the pass began: what was not old enough by then is left to the next one';
COMMENT ON COLUMN pruning.free_at    IS 'when the next step may begin';
