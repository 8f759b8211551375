package postgres_test

import (
	"errors"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"pymessage/internal/fault"
	"pymessage/internal/postgres"
	"pymessage/internal/testenv"
)

func file(sql string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql + ";\n")}
}

var (
	older = fstest.MapFS{"migrations/0001_notes.sql": file(`CREATE TABLE notes (n integer)`)}
	newer = fstest.MapFS{
		"migrations/0001_notes.sql":  older["migrations/0001_notes.sql"],
		"migrations/0002_more.sql":   file(`ALTER TABLE notes ADD COLUMN text text`),
		"migrations/0010_filled.sql": file(`INSERT INTO notes VALUES (1, 'one')`),
	}
)

func migrate(t *testing.T, url string, fsys fs.FS) error {
	t.Helper()
	return postgres.Migrate(t.Context(), testenv.Logger(t), url, fsys)
}

func TestMigrationsGoForwardOnceEach(t *testing.T) {
	t.Parallel()

	url := testenv.Postgres(t)
	for _, fsys := range []fs.FS{older, older, newer, newer} {
		if err := migrate(t, url, fsys); err != nil {
			t.Fatal(err)
		}
	}
	var rows int
	if err := open(t, url).QueryRow(t.Context(), `SELECT count(*) FROM notes WHERE text = 'one'`).Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

func TestMigrationsAtOnceAreOneMigration(t *testing.T) {
	t.Parallel()

	url := testenv.Postgres(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := migrate(t, url, newer); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestABrokenMigrationLeavesTheSchemaAsItWas(t *testing.T) {
	t.Parallel()

	url := testenv.Postgres(t)
	broken := fstest.MapFS{"migrations/0001_notes.sql": older["migrations/0001_notes.sql"], "migrations/0002_broken.sql": file(`DROP TABLE notes; SELEKT`)}
	if err := migrate(t, url, broken); err == nil || !strings.Contains(err.Error(), "migrating") {
		t.Errorf("got %v", err)
	}
	pool := open(t, url)
	if err := postgres.CheckSchema(t.Context(), pool, older); err != nil {
		t.Error(err)
	}
	mustExec(t, pool, `INSERT INTO notes VALUES (1)`)
}

func TestASchemaIsGoodFromTheVersionThatIsNeeded(t *testing.T) {
	t.Parallel()

	url := testenv.Postgres(t)
	pool := open(t, url)
	if err := postgres.CheckSchema(t.Context(), pool, older); err == nil {
		t.Error("an empty schema is good")
	}
	if err := migrate(t, url, older); err != nil {
		t.Fatal(err)
	}
	err := postgres.CheckSchema(t.Context(), pool, newer)
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "at version 1, needs 10") {
		t.Errorf("an old schema: %v", err)
	}
	if err := migrate(t, url, newer); err != nil {
		t.Fatal(err)
	}
	for _, fsys := range []fs.FS{older, newer} {
		if err := postgres.CheckSchema(t.Context(), pool, fsys); err != nil {
			t.Error(err)
		}
	}
	if err := postgres.CheckSchema(t.Context(), pool, fstest.MapFS{}); err == nil {
		t.Error("no migrations are enough")
	}
}

func TestWithoutASchemaMigrationsSayWhatIsMissing(t *testing.T) {
	t.Parallel()

	address, err := url.Parse(testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	query := address.Query()
	query.Set("search_path", "nowhere")
	address.RawQuery = query.Encode()
	if err := migrate(t, address.String(), older); err == nil || !strings.Contains(err.Error(), "provision") {
		t.Errorf("got %v", err)
	}
}
