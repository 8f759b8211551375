package stores

import "testing"

func TestARecycledLogHasSegmentsForWhatIsWrittenNext(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, openFolder(t))
	if err := p.RecycleLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	const ahead = "select count(*)::int from pg_ls_waldir() where name > pg_walfile_name(pg_current_wal_insert_lsn())"
	if n := query(t, p, ahead); n < walSegments/2 {
		t.Errorf("%d segments are ready, want about %d", n, walSegments)
	}
}
