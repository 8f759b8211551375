-- +goose Up

-- The log is all inboxes together. Whoever restores it to an earlier state, or
-- fails over to a replica that lacks commits, gives it a new epoch.
CREATE TABLE log (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    text    NOT NULL
);
INSERT INTO log (epoch) VALUES (gen_random_uuid()::text);

-- One row for each user that is known to exist. It is updated with every batch, in
-- place as long as its page has room, hence the fillfactor and no further index.
CREATE TABLE inboxes (
    user_id integer PRIMARY KEY,
    head    bigint  NOT NULL DEFAULT 0,
    oldest  bigint  NOT NULL DEFAULT 1
) WITH (fillfactor = 50);

COMMENT ON COLUMN inboxes.head   IS 'newest seq of the user, 0: none yet';
COMMENT ON COLUMN inboxes.oldest IS 'oldest seq that is kept, head+1 when none is';

-- Apart from the inboxes, so that confirming never waits for appending.
CREATE TABLE positions (
    user_id integer PRIMARY KEY,
    seq     bigint  NOT NULL
) WITH (fillfactor = 50);

COMMENT ON COLUMN positions.seq IS 'newest seq known to be delivered';

-- Every index costs each message: there is the key and nothing else.
CREATE TABLE events (
    user_id integer     NOT NULL,
    seq     bigint      NOT NULL,
    kind    smallint    NOT NULL,
    peer    integer     NOT NULL,
    content text        NOT NULL,
    sent_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, seq)
);

COMMENT ON COLUMN events.kind    IS '1 message, 2 friend request';
COMMENT ON COLUMN events.peer    IS 'the user who caused it';
COMMENT ON COLUMN events.content IS 'of a message, otherwise empty';

-- The last batch of each lane, with its answer in case it was lost.
CREATE TABLE lanes (
    lane       text        PRIMARY KEY,
    number     bigint      NOT NULL DEFAULT 0,
    results    bigint[]    NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
ALTER TABLE lanes ALTER COLUMN results SET STORAGE MAIN;

COMMENT ON COLUMN lanes.number     IS 'of the last batch, 0: none yet';
COMMENT ON COLUMN lanes.results    IS 'of each message the seq, or why it was refused: -1 unknown, -2 not friend, -3 invalid, -4 unavailable';
COMMENT ON COLUMN lanes.updated_at IS 'when the last batch was stored';

-- What is between two users. A row stays when nothing is any more, so that there
-- is always one to lock.
CREATE TABLE pairs (
    low         integer     NOT NULL,
    high        integer     NOT NULL,
    state       smallint    NOT NULL DEFAULT 0,
    request_seq bigint      NOT NULL DEFAULT 0,
    since       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (low, high),
    CHECK (low < high)
);
-- With low, so that a pair is found at once by either index.
CREATE INDEX pairs_by_high ON pairs (high, low);

COMMENT ON COLUMN pairs.state       IS '0 nothing, 1 low asked, 2 high asked, 3 friends';
COMMENT ON COLUMN pairs.request_seq IS 'of the friend request that waits, in the inbox of who was asked; otherwise 0';
COMMENT ON COLUMN pairs.since       IS 'when the state was entered';
