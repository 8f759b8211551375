package stores

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// unprivileged are the users that Postgres runs as when we are root, as it
// refuses to run as root itself: the first that exists.
var unprivileged = []string{"postgres", "nobody"}

// ErrUnreachable says that the user who has to run Postgres cannot get into the
// data folder, because a folder above it is closed to others.
var ErrUnreachable = errors.New("data folder not reachable")

// account is the user that a server runs as; nil stands for ourselves.
type account struct {
	name     string
	uid, gid uint32
}

// serverAccount is who has to run Postgres in the data folder: ourselves, or as
// root the one to whom the folder belongs, or an unprivileged user for a new one.
func serverAccount(data string) (*account, error) {
	owner, exists, err := ownerOf(data)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		if exists && owner.uid != uint32(os.Geteuid()) {
			return nil, fmt.Errorf("the data folder %s belongs to the user %s, as it was made by another user's or root's run: "+
				"run as that user again, or choose another folder", data, owner.name)
		}
		return nil, nil
	}
	if exists && owner.uid != 0 {
		return owner, nil
	}
	return unprivilegedAccount()
}

func unprivilegedAccount() (*account, error) {
	for _, name := range unprivileged {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		return newAccount(u)
	}
	return nil, fmt.Errorf("Postgres does not run as root, and there is no user %s or %s to run it as: add one",
		unprivileged[0], unprivileged[1])
}

func newAccount(u *user.User) (*account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user id of %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("group id of %s: %w", u.Username, err)
	}
	return &account{name: u.Username, uid: uint32(uid), gid: uint32(gid)}, nil
}

// ownerOf says to whom a folder belongs.
func ownerOf(dir string) (owner *account, exists bool, err error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, false, fmt.Errorf("owner of %s: not told by this system", dir)
	}
	owner = &account{name: strconv.Itoa(int(stat.Uid)), uid: stat.Uid, gid: stat.Gid}
	if u, err := user.LookupId(owner.name); err == nil {
		owner.name = u.Username
	}
	return owner, true, nil
}

// run makes cmd run as the account.
func (a *account) run(cmd *exec.Cmd) {
	if a == nil {
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
}

// own gives path, and all that is in it, to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, int(a.uid), int(a.gid))
	})
}

// reach checks that the account can get into dir, by going there as that user.
func (a *account) reach(dir, program string) error {
	if a == nil {
		return nil
	}
	cmd := exec.Command(program, "--version")
	cmd.Dir = dir
	a.run(cmd)
	err := cmd.Run()
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: Postgres has to run as the user %s here, who may not enter %s or a folder above it",
			ErrUnreachable, a.name, dir)
	}
	return err
}

// PostgresCanUse checks whether the Postgres of this machine could have its data
// below dir, which must exist: as root Postgres runs as another user, for whom a
// folder such as /root is closed. The error is an ErrUnreachable then.
func PostgresCanUse(dir string) error {
	dir, err := absolute(dir)
	if err != nil {
		return err
	}
	bin, err := FindPostgres()
	if err != nil {
		return err
	}
	a, err := serverAccount(filepath.Join(dir, dataFolder))
	if err != nil {
		return err
	}
	return a.reach(dir, filepath.Join(bin, "postgres"))
}
