-- +goose Up
-- The ids of deleted accounts. They are never given again; nothing else of such an
-- account is kept.
CREATE TABLE departed (
    id         integer     PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT now()
);

-- The deleted accounts whose content social has not deleted yet.
CREATE TABLE outbox (
    user_id integer     PRIMARY KEY REFERENCES departed (id),
    due_at  timestamptz NOT NULL DEFAULT now(),
    tries   integer     NOT NULL DEFAULT 0,
    told    boolean     NOT NULL DEFAULT false
);

CREATE INDEX outbox_due_at_idx ON outbox (due_at);

COMMENT ON COLUMN outbox.due_at IS 'when it is to be worked on; who does so moves it to the future first';
COMMENT ON COLUMN outbox.tries  IS 'that failed, since one last succeeded';
COMMENT ON COLUMN outbox.told   IS 'deleted once; looked at once more, for what came late';
