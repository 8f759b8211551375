package local

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// secrets are made at the first run and kept, since what is in the database
// belongs to them: pins cannot be checked with another pepper.
type secrets struct {
	Internal         string `json:"internal_secret"`
	PinPepper        string `json:"pin_pepper"`
	AccountsPassword string `json:"accounts_password"`
	SocialPassword   string `json:"social_password"`
}

func keptSecrets(dir string) (secrets, error) {
	file := filepath.Join(dir, "secrets.json")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeSecrets(file)
	}
	if err != nil {
		return secrets{}, fmt.Errorf("read the secrets: %w", err)
	}
	var s secrets
	if err := json.Unmarshal(text, &s); err != nil || !s.whole() {
		return secrets{}, fmt.Errorf("the secrets in %s are damaged: restore the file, or move the folder %s away to begin anew", file, dir)
	}
	return s, nil
}

func (s secrets) whole() bool {
	return s.Internal != "" && s.PinPepper != "" && s.AccountsPassword != "" && s.SocialPassword != ""
}

func makeSecrets(file string) (secrets, error) {
	s := secrets{
		Internal:         rand.Text(),
		PinPepper:        rand.Text(),
		AccountsPassword: rand.Text(),
		SocialPassword:   rand.Text(),
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return secrets{}, err
	}
	// Renamed into place, so that a killed run leaves none or all of it.
	next := file + ".new"
	if err := errors.Join(os.WriteFile(next, text, 0o600), os.Rename(next, file)); err != nil {
		return secrets{}, fmt.Errorf("keep the secrets: %w", err)
	}
	return s, nil
}
