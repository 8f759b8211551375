-- +goose Up

-- Who ever wrote to whom: the inboxes that have something of a user, and the
-- conversations that there are. Written once for each pair.
CREATE TABLE contacts (
    sender    integer NOT NULL,
    recipient integer NOT NULL,
    PRIMARY KEY (sender, recipient)
);
CREATE INDEX contacts_by_recipient ON contacts (recipient, sender);

INSERT INTO contacts (sender, recipient)
SELECT DISTINCT peer, user_id FROM events WHERE kind = 1;

-- Where the messages of a conversation are among the events of an inbox. An index
-- would cost each message, also of those who never ask: this is filled when somebody
-- asks. A row whose event is not there any more says nothing.
CREATE TABLE history (
    user_id integer     NOT NULL,
    peer    integer     NOT NULL,
    sent_at timestamptz NOT NULL,
    seq     bigint      NOT NULL,
    PRIMARY KEY (user_id, peer, sent_at, seq)
);

COMMENT ON COLUMN history.user_id IS 'whose inbox it is: the recipient';
COMMENT ON COLUMN history.peer    IS 'the sender';

CREATE TABLE history_filled (
    user_id integer PRIMARY KEY,
    seq     bigint  NOT NULL
);

COMMENT ON COLUMN history_filled.seq IS 'newest event of the inbox that history knows, and all before it';

-- What a user has read of another.
CREATE TABLE read_marks (
    reader integer NOT NULL,
    peer   integer NOT NULL,
    seq    bigint  NOT NULL,
    PRIMARY KEY (reader, peer)
) WITH (fillfactor = 70);

COMMENT ON COLUMN read_marks.seq IS 'in the inbox of the reader: what peer sent up to here is read';
