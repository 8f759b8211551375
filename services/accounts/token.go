package accounts

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// tokenSize is the length of a token in bytes. Nobody guesses one, so a fast hash
// of it is safe to store.
const tokenSize = 32

// tokenHash is what is stored of a token.
type tokenHash [sha256.Size]byte

// token is the secret of a new session, in full only until it is given away.
type token struct {
	text string
	hash tokenHash
}

// tokenText is how tokens are written: one way only, and fit for any place.
var tokenText = base64.RawURLEncoding.Strict()

func newToken() token {
	var secret [tokenSize]byte
	rand.Read(secret[:])
	return token{tokenText.EncodeToString(secret[:]), sha256.Sum256(secret[:])}
}

// hashToken finds what is stored of the token with this text; false when it cannot
// be one of ours.
func hashToken(text string) (tokenHash, bool) {
	if len(text) != tokenText.EncodedLen(tokenSize) {
		return tokenHash{}, false
	}
	secret, err := tokenText.DecodeString(text)
	if err != nil || len(secret) != tokenSize { // it passes over line breaks
		return tokenHash{}, false
	}
	return sha256.Sum256(secret), true
}
